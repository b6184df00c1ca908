package main

func keycloakCrash(r *run) error { return nil }
