"""How the texts of a distilled set read and how varied they are.

Evaluator's measures: they read the train split and the texts of the test split, are taken after the method has ended, and are not part of
its cost. No method sees them, and nothing is chosen by them.
"""
