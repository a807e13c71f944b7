package closure_test

import (
	"context"
	"fmt"
	"log"

	"pix/closure"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A store has a library and a program that needs it.
func Example() {
	ctx := context.Background()
	s := memstore.New(nil)
	lib, err := store.AddText(ctx, s, "lib-1.0", "library\n", nil)
	if err != nil {
		log.Fatal(err)
	}
	program, err := store.AddText(ctx, s, "program-2.1", "loads "+string(lib)+"\n", []storepath.Path{lib})
	if err != nil {
		log.Fatal(err)
	}

	c, err := closure.Load(ctx, s, program)
	if err != nil {
		log.Fatal(err)
	}
	info, _ := c.Get(program)
	fmt.Printf("the program has %d bytes, its closure %d\n", info.NARSize, c.Size())
	for _, path := range c.Why(program, lib) {
		fmt.Println(path.Name())
	}
	mentions, err := closure.FindReferences(ctx, s, program, lib)
	fmt.Printf("%q %v\n", mentions, err)
	// Output:
	// the program has 176 bytes, its closure 296
	// program-2.1
	// lib-1.0
	// [{"" ""}] <nil>
}

func ExampleCompare() {
	infos := func(paths ...storepath.Path) (infos []*store.PathInfo) {
		for _, p := range paths {
			infos = append(infos, &store.PathInfo{Path: p, NARSize: 1000})
		}
		return infos
	}
	const (
		old     storepath.Path = "/nix/store/a1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-hello-2.10"
		current storepath.Path = "/nix/store/b1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-hello-2.12"
		added   storepath.Path = "/nix/store/b1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-new"
	)
	before, err := closure.New(infos(old))
	if err != nil {
		log.Fatal(err)
	}
	after, err := closure.New(infos(current, added))
	if err != nil {
		log.Fatal(err)
	}
	for _, pkg := range closure.Compare(before, after).Packages {
		fmt.Printf("%s: %q -> %q, %+d bytes\n", pkg.Name, pkg.Before, pkg.After, pkg.SizeDelta)
	}
	// Output:
	// hello: ["2.10"] -> ["2.12"], +0 bytes
	// new: [] -> [""], +1000 bytes
}
