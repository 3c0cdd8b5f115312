"""The releases table: what a release found, decided and did, who may write, and what is not whole."""
