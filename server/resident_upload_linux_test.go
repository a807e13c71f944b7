package server_test

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// importWith returns the start of an upload of objects. The info of the first object ends with
// the given bytes.
func importWith(end []byte) []byte {
	p := protocol.Params{Version: protocol.MaxVersion, Features: protocol.AllFeatures, Dir: storepath.DefaultDir}
	b, err := p.AppendRequest(nil, &protocol.AddMultipleToStoreRequest{})
	if err != nil {
		panic(err)
	}
	stream := wire.AppendUint64(nil, 1)
	stream = wire.AppendString(stream, absent)
	stream = wire.AppendString(stream, "")
	stream = wire.AppendString(stream, strings.Repeat("0", 64))
	stream = append(stream, end...)
	b = wire.AppendUint64(b, uint64(len(stream)))
	return append(b, stream...)
}

// 64 clients start uploads and stop.
func TestResidentStalledUploads(t *testing.T) {
	p := protocol.Params{Version: protocol.MaxVersion, Features: protocol.AllFeatures, Dir: storepath.DefaultDir}
	request := func(req protocol.Request) []byte {
		b, err := p.AppendRequest(nil, req)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	frame := func(b, contents []byte) []byte {
		return append(wire.AppendUint64(b, uint64(len(contents))), contents...)
	}
	tree := request(&protocol.AddToStoreRequest{Name: "x", Method: storepath.NAR, Algorithm: nixhash.SHA256})
	archive := fileNAR(strings.Repeat("x", 4<<20))
	object, _ := importOf(t, "x")
	object.CA, object.NARSize = addressOf(t, "x"), uint64(len(archive))
	var err error
	if object.Path, err = storepath.DefaultDir.FixedOutputPath("x", object.CA, storepath.References{}); err != nil {
		t.Fatal(err)
	}
	var before []byte // the bytes before a signature
	for _, n := range []uint64{0, 0, 1, 0} {
		before = wire.AppendUint64(before, n)
	}
	for name, said := range map[string][]byte{
		"an endless frame":       append(wire.AppendUint64(addFlat(), 1<<32-1), make([]byte, 4<<20)...),
		"half a file":            frame(addFlat(), make([]byte, 1<<20)),
		"half a small file":      frame(addFlat(), make([]byte, 200<<10)),
		"half an archive":        frame(tree, archive[:3<<20]),
		"half an object":         frame(request(&protocol.AddToStoreNarRequest{Info: *object}), archive[:3<<20]),
		"references without end": importWith(wire.AppendStrings(nil, manyPaths(t, 30_000))),
		"a long signature":       importWith(wire.AppendStrings(before, []string{strings.Repeat("x", 4<<20), ""})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothTrusts(t, func(t *testing.T, trust bool) {
				r := startResident(t, "disk", trust)
				var crowd sync.WaitGroup
				for range 64 {
					c := r.dial()
					crowd.Go(func() {
						c.nc.SetDeadline(time.Now().Add(500 * time.Millisecond))
						io.Copy(c.nc, bytes.NewReader(said))
					})
				}
				crowd.Wait()
				time.Sleep(100 * time.Millisecond)
				r.check()
			})
		})
	}
}
