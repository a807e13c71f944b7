package substitute_test

import (
	"context"
	"fmt"
	"log"

	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/substitute"
)

// A store copies a path that it lacks from another store.
func Example() {
	ctx := context.Background()
	other, below := memstore.New(nil), memstore.New(nil)
	path, err := other.AddTextToStore(ctx, "hello.txt", "hello world", nil)
	if err != nil {
		log.Fatal(err)
	}
	s := substitute.New(below, &substitute.Options{
		Settings: func(context.Context) (*substitute.Settings, error) {
			return &substitute.Settings{Substituters: []substitute.Substituter{{Store: other}}}, nil
		},
	})
	defer s.Close()
	results, err := s.BuildPathsWithResults(ctx, []derivation.DerivedPath{derivation.Opaque{Path: path}}, store.BuildNormal)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(results[0].Status, results[0].Path)
	// Output: Substituted /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt
}
