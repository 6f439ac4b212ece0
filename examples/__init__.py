"""Programs to read and to run: each says at its top what it shows. ``python run_examples.py`` runs them all."""
