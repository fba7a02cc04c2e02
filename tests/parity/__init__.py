"""The tests of others, run on `smtp_blocking` in the place of `smtplib`."""
