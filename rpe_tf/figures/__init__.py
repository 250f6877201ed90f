"""Drawing: pictures from arrays, and one script a figure. Nothing else imports it."""
