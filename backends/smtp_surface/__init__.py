"""The `smtplib`-shaped classes, written once for every backend; see `smtp_surface.conversations`."""
