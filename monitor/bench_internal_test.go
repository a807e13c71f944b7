package monitor

import (
	"io"
	"testing"

	"pix/protocol"
	"pix/store"
	"pix/storepath"

	"pix/nixhash"
)

// BenchmarkObserver measures the time to decode and to show an operation.
func BenchmarkObserver(b *testing.B) {
	head := newScript(b, protocol.MaxVersion)
	s := newScript(b, protocol.MaxVersion)
	s.parts = nil
	s.request(&protocol.QueryPathInfoRequest{Path: somePath})
	s.reply(protocol.QueryPathInfo, &protocol.QueryPathInfoReply{Info: &store.PathInfo{
		NARHash: nixhash.Sum(nixhash.SHA256, nil), References: []storepath.Path{somePath}, Signatures: []string{"cache.nixos.org-1:abcdefg"},
	}})
	m := &Monitor{Handle: func(e *Event) { io.WriteString(io.Discard, e.String()) }}
	tap := newTap(&m.memory, maxQueued, false)
	o := newObserver(m, 1, tap, nil)
	var last batch
	for _, p := range head.parts {
		tap.push(p.from, p.b)
	}
	last = o.step(last)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, p := range s.parts {
			tap.push(p.from, p.b)
		}
		if n++; n%20 == 0 {
			last = o.step(last)
		}
	}
}
