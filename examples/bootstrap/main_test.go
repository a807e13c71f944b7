package main

import (
	"strings"
	"testing"

	"pix/examples/internal/realtest"
)

func Example() {
	main()
	// Output:
	// /nix/store/swzbj44h1ys5cqfgvig1yivxd56d4yi2-compiler-stage1
	// /nix/store/qn4nwf9vyw1kqd58lbblm5pyh0nqzmkp-compiler-stage2
	// /nix/store/c44csqh1qpz6pbfk2y3v4fw2xn2lmd0z-compiler-stage3
	// /nix/store/pni5x8aalas0q32vgbhbhy0bmwd5xfsz-program
}

// The bootstrap is complete: stage 3 equals stage 2.
func TestBuild(t *testing.T) {
	realtest.Build(t, realtest.Packages(declare(t.Context())), func(t *testing.T, contents []string) {
		stage1, stage2, stage3, program := contents[0], contents[1], contents[2], contents[3]
		if !strings.Contains(stage1, "#: The") || strings.Contains(stage2, "#: The") {
			t.Errorf("stage 1 is %q, and stage 2 %q", stage1, stage2)
		}
		if stage2 != stage3 {
			t.Errorf("stage 2 is %q, and stage 3 %q", stage2, stage3)
		}
		if program != "echo hello\n" {
			t.Errorf("the program is %q", program)
		}
	})
}
