package main

import (
	"slices"
	"testing"

	"pix/examples/internal/realtest"
)

func Example() {
	main()
	// Output:
	// /nix/store/b2yyd7kfyny8d4dylnyzs22cfdrx5h57-greet-1.0
	// /nix/store/xs4j9jl1rc5nyv8xivwnl3z61mpzyfvh-manual
	// /nix/store/hhssj12c7ygdlbb85mhcb70fs5cjnin7-greet-1.0
	// /nix/store/xs4j9jl1rc5nyv8xivwnl3z61mpzyfvh-manual
}

func TestBuild(t *testing.T) {
	realtest.Build(t, realtest.Packages(declare(t.Context())), func(t *testing.T, contents []string) {
		want := []string{"good day, gopher\n", "greet: greets\n", "good day!!, gopher\n", "greet: greets\n"}
		if !slices.Equal(contents, want) {
			t.Errorf("built %q, want %q", contents, want)
		}
	})
}
