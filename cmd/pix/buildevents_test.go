package main

import (
	"fmt"
	"slices"
	"testing"

	"pix/cmd/pix/internal/live"
)

// Each derivation comes after its inputs, and they are visited by path.
func TestPostorder(t *testing.T) {
	plan := live.Plan{"a": {"d", "c"}, "b": {"a"}, "c": {"d"}, "d": nil, "e": nil}
	if got, want := postorder(plan), []string{"d", "c", "a", "b", "e"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	chain := live.Plan{}
	for i := range 100_000 {
		chain[fmt.Sprintf("%06d", i)] = []string{fmt.Sprintf("%06d", i+1)}
	}
	chain["100000"] = nil
	if got := postorder(chain); got[0] != "100000" || len(got) != 100_001 {
		t.Errorf("%d, the first is %s", len(got), got[0])
	}
	if got := postorder(live.Plan{"a": {"b"}, "b": {"a"}}); len(got) != 2 {
		t.Errorf("a cycle: %q", got)
	}
}
