"""What every service needs: the server, calls and their answers, limits, faults, lag, pages and child processes."""
