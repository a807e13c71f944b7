package derivation_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// Texts are freed as soon as their derivations are checked, in whatever order the files are listed.
func TestVerifyFreesTexts(t *testing.T) {
	s := drvStore{t, t.TempDir()}
	const chains, length, size = 4, 100, 100 << 10
	var names []string
	for c := range chains {
		var last []storepath.Path
		for i := range length {
			d := drv(t, fmt.Sprintf("x-%d-%d", c, i), floatingOutput, last...)
			d.Env.Set("text", strings.Repeat("x", size))
			d.Env.Set("chain", fmt.Sprint(c))
			last = []storepath.Path{s.write(d)}
			names = append(names, last[0].Base())
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, grown := heap(), uint64(0)
	results, err := derivation.Verify(t.Context(), derivation.Directory(s.dir), names, &derivation.VerifyOptions{Progress: func(done, total int) {
		if done == total {
			grown = max(heap(), before) - before
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Status != derivation.Verified {
			t.Errorf("%s is %v: %v", r.File, r.Status, r.Problems)
		}
	}
	if all := uint64(chains * length * size); grown > all/8 {
		t.Errorf("at the end %d bytes are in memory, after texts of %d", grown, all)
	}
}
