"""A trained run made better by experiments: believe, try, conclude, and believe anew."""
