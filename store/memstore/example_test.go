package memstore_test

import (
	"context"
	"fmt"
	"strings"

	"pix/nixhash"
	"pix/store/memstore"
	"pix/storepath"
)

// Add a source file, and a script that refers to it.
func Example() {
	ctx := context.Background()
	s := memstore.New(nil)
	info, err := s.AddToStore(ctx, "hello.c", storepath.Flat, nixhash.SHA256, nil, strings.NewReader("int main() {}\n"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	builder, err := s.AddTextToStore(ctx, "builder.sh", "cc "+string(info.Path)+"\n", []storepath.Path{info.Path})
	if err != nil {
		fmt.Println(err)
		return
	}
	referrers, err := s.QueryReferrers(ctx, info.Path)
	fmt.Println(info.Path)
	fmt.Println(referrers[0] == builder, err)
	// Output:
	// /nix/store/bp5gs9w7kvr4yrsy86ijwdr8yc89xqk2-hello.c
	// true <nil>
}
