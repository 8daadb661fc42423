;; Nothing wrong: every subject goes direct. The host must accept it.
