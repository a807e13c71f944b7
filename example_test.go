package pix_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"pix"
	"pix/signature"
	"pix/store"
)

// A store in a directory needs no Nix, no daemon and no set-up.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "store-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	s, err := pix.Open(ctx, dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	path, err := store.AddText(ctx, s, "hello.txt", "hello world", nil)
	if err != nil {
		log.Fatal(err)
	}
	info, err := s.QueryPathInfo(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Path)
	fmt.Println(info.NARSize, "bytes,", info.NARHash)
	// Output:
	// /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt
	// 128 bytes, sha256-rkUEKu9bFIg12wLQRf6JtMCf+eR22rABoUvAMi0/IJM=
}

// Open the store that the command pix would open, with trusted keys: the daemon of this machine, the store of this machine,
// or a store in the data directory of the user.
func ExampleFromEnvironment() {
	opts, err := pix.FromEnvironment(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	opts.Local.TrustedKeys, err = signature.ParseKeySet("cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=")
	if err != nil {
		log.Fatal(err)
	}
	s, err := pix.Open(context.Background(), "auto", opts)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	paths, err := store.AllValidPaths(context.Background(), s)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(paths), "paths are valid in", s.Dir())
}
