"""What people read afterwards: notification, status, and the commands that finish a rollback by hand."""
