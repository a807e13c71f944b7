package main

import (
	"testing"

	"pix/examples/internal/realtest"
	"pix/pixpkgs"
)

func Example() {
	main()
	// Output:
	// /nix/store/6n9arpi3h54xwn6icjfjylinkhayxy45-hello
}

func TestBuild(t *testing.T) {
	hello, err := declare()
	realtest.Build(t, realtest.Packages([]*pixpkgs.Package{hello}, err), func(t *testing.T, contents []string) {
		if contents[0] != "hello, gopher!\n" {
			t.Errorf("hello is %q", contents[0])
		}
	})
}
