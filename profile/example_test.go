package profile_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"pix/profile"
	"pix/store"
	"pix/store/memstore"
)

// A service has a profile: each deployment is a generation, and a bad one is rolled back.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "profile")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := memstore.New(&memstore.Options{ReadLink: os.Readlink})

	p, err := profile.New(s.Dir(), filepath.Join(dir, "service"))
	if err != nil {
		log.Fatal(err)
	}
	for _, version := range []string{"service-1.0", "service-1.1", "service-2.0"} {
		path, err := store.AddText(ctx, s, version, version+"\n", nil)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := p.Set(ctx, s, path); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := p.Rollback(ctx); err != nil {
		log.Fatal(err)
	}
	deleted, err := p.Delete(ctx, profile.Numbers(3))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("deleted:", deleted[0].Path.Name())
	all, err := p.Generations(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range all {
		fmt.Println(g.Number, g.Path.Name(), g.Current)
	}
	// Output:
	// deleted: service-2.0
	// 1 service-1.0 false
	// 2 service-1.1 true
}
