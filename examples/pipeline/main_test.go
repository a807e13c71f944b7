package main

import (
	"testing"

	"pix/examples/internal/realtest"
)

func Example() {
	main()
	// Output:
	// /nix/store/k08craqrhxfq5zkhm1fxfnr53x95xi8y-upper
	// /nix/store/1lcgb4n5y4c1g8rg8yv69xzsxyjic37i-count
	// /nix/store/cs94phxdb1nrmc767r4q2c9yxmn44nmk-report
}

func TestBuild(t *testing.T) {
	realtest.Build(t, realtest.Packages(declare(t.Context())), func(t *testing.T, contents []string) {
		const want = "report\n- 6 words\n- STORE\n- path\n- STORE\n- derivation\n- path\n- STORE\n"
		if len(contents) != 3 || contents[2] != want {
			t.Errorf("the report is %q", contents)
		}
	})
}

// A changed step changes the steps after it, and not the steps before it.
func TestChange(t *testing.T) {
	before, err := declare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	script := steps[1].script
	steps[1].script = "read line < $input; echo $line > $out"
	defer func() { steps[1].script = script }()
	after, err := declare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range before {
		if same := before[i].String() == after[i].String(); same != (i == 0) {
			t.Errorf("step %d is %s now, and was %s before", i, after[i], before[i])
		}
	}
}
