"""Backups of one service's database: what it decided, and, in a folder of their own, the keys of people.

    python -m servicekit.backup create  --to FOLDER   --keys FOLDER
    python -m servicekit.backup verify  --from FOLDER
    python -m servicekit.backup restore --from FOLDER --keys FOLDER

Run with the service's own settings, beside the running service (`create`) or in its place (`restore`). Views, results
and held records are not in it: they are made again from the log. The master key is not in it either.

**Keys are kept apart, and one copy of them only.** Whoever is erased stays unreadable because their key is gone
everywhere. Data may be kept for years, since it is sealed; the keys' file is replaced at each backup, and it carries
the tombstones. So data of any age is restored with the newest keys.

**A restored log is another history.** Events that were stored after the backup may have been published, and others
know them; the restored log will give their versions to other events. So it gets an epoch of its own, publishes all of
it again, and whoever listens builds its views anew.
"""
