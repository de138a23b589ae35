"""An audit as records hold it, for tests of packs, rows and figures."""

from tdbench.bench.config import settings_for
from tdbench.bench.record import AttackResult, AuditResult, CoinTest

ONE = settings_for(["task=agnews", "method=random", "budget=dpc10", "protocol=lite-v1", "audit=text"])[0]
ATTACK = AttackResult(
    name="bigram-lm",
    game="text",
    headline=True,
    auc=0.512345678,
    auc_low=0.5,
    auc_high=0.53,
    se=0.01,
    detectable_auc=0.52,
    run_aucs=(0.5, 0.52),
    roc_tpr=(0.25,) * 31,
    null_p=1e-9,
)
TEST = CoinTest(test="phantom", game="text", coins=2, guesses=1, right=1, p_value=0.5, epsilon_lower=2.123456789)
RESULT = AuditResult(
    audit_version=1,
    settings=ONE.audit.model_dump(mode="json"),
    games=("text",),
    n_candidates=2200,
    n_groups=2197,
    n_auxiliary=2198,
    n_member_rows=(1104, 1096),
    n_members=(1102, 1095),
    n_non_members=(1095, 1102),
    n_released=(40, 40),
    exact_members=(40, 40),
    exact_non_members=(0, 0),
    attacks=(ATTACK,),
    coin_tests=(TEST,),
    epsilon_lower=2.123456789,
    delta=1e-5,
    blind_auc=0.5,
    blind_low=0.47,
    blind_high=0.53,
    set_sha256s=("a", "b", "c"),
)
