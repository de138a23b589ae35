"""From records to the board: statistics, rows, tables and the page. Needs neither torch nor a plug-in."""
