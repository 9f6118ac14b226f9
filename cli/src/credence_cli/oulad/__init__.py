"""Real registrations, withdrawals and results from the Open University's public data set, through the public contracts.

Files to a plan (pure), the plan to the platform (restartable), the platform's answers beside the files (pure again).
There is no attendance in the data, so none is imported.
"""
