package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/localstore"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// manyPaths returns n paths that are not valid.
func manyPaths(t testing.TB, n int) []storepath.Path {
	t.Helper()
	paths := make([]storepath.Path, n)
	for i := range paths {
		var err error
		if paths[i], err = storepath.DefaultDir.MakePath("text", nixhash.Sum(nixhash.SHA256, fmt.Append(nil, i)), "x"); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// importWith begins an upload of objects, the first of which has an info that ends in that.
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

// 64 clients who are not trusted make the server keep something, do not read what it answers,
// and stay.
func TestCrowdThatStays(t *testing.T) {
	const clients, most = 64, 200 // MB
	var err error
	paths := manyPaths(t, 30_000)
	var refs []byte
	refs = wire.AppendStrings(refs, paths)
	var wanted []derivation.DerivedPath
	for _, p := range paths[:20_000] {
		wanted = append(wanted, derivation.Opaque{Path: p})
	}
	request := func(reqs ...protocol.Request) (b []byte) {
		p := protocol.Params{Version: protocol.MaxVersion, Features: protocol.AllFeatures, Dir: storepath.DefaultDir}
		for _, req := range reqs {
			var err error
			if b, err = p.AppendRequest(b, req); err != nil {
				t.Fatal(err)
			}
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
	if object.Path, err = storepath.DefaultDir.FixedOutputPath("x", object.CA, storepath.References{}); err != nil {
		t.Fatal(err)
	}
	noise := make(map[string]string)
	for i := range 3000 { // each is answered by a line
		noise[fmt.Sprint("a-restricted-setting-", i)] = "x"
	}
	for name, said := range map[string][]byte{
		"half a file":            frame(addFlat(), make([]byte, 1<<20)),
		"half a small file":      frame(addFlat(), make([]byte, 200<<10)),
		"half an archive":        frame(tree, archive[:3<<20]),
		"half an object":         frame(request(&protocol.AddToStoreNarRequest{Info: *object}), archive[:3<<20]),
		"references without end": importWith(refs),
		"a long signature": importWith(wire.AppendStrings(wire.AppendUint64(wire.AppendUint64(wire.AppendUint64(wire.AppendUint64(nil, 0), 0), 1), 0),
			[]string{strings.Repeat("x", 4<<20), ""})),
		"a long setting":             request(&protocol.SetOptionsRequest{Overrides: map[string]string{"timeout": strings.Repeat("0", 1<<21-1000)}}),
		"results of builds":          request(&protocol.BuildPathsWithResultsRequest{Paths: wanted}),
		"warnings, and what lacks":   request(&protocol.SetOptionsRequest{Overrides: noise}, &protocol.QueryMissingRequest{Paths: wanted}),
		"warnings, and many results": request(&protocol.SetOptionsRequest{Overrides: noise}, &protocol.BuildPathsWithResultsRequest{Paths: wanted}),
	} {
		stays := func(t *testing.T, s store.Store) {
			h := startHost(t, &server.Server{Store: s, MaxClientsPerUser: clients + 1, Access: &server.Access{Allowed: []string{"*"}}})
			g := newGauge()
			var crowd sync.WaitGroup
			for range clients {
				c := h.mustDial()
				crowd.Go(func() {
					defer c.nc.Close()
					c.nc.SetDeadline(time.Now().Add(3 * time.Second))
					io.Copy(c.nc, bytes.NewReader(said))
					time.Sleep(time.Second)
				})
			}
			crowd.Wait()
			if mb := g.megabytes(); mb > most {
				t.Errorf("%d clients took %d MB, at most %d are allowed", clients, mb, most)
			} else {
				t.Logf("%d MB", mb)
			}
		}
		t.Run(name, func(t *testing.T) {
			s, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			stays(t, s)
		})
	}
}

// A client who is not trusted, and has taken what others wait for, must not take his time.
func TestShareIsGivenBack(t *testing.T) {
	paths := manyPaths(t, 2000)
	var asked []byte
	p := protocol.Params{Version: protocol.MaxVersion, Features: protocol.AllFeatures, Dir: storepath.DefaultDir}
	asked, err := p.AppendRequest(nil, &protocol.QueryMissingRequest{Paths: func() (all []derivation.DerivedPath) {
		for _, p := range paths {
			all = append(all, derivation.Opaque{Path: p})
		}
		return all
	}()})
	if err != nil {
		t.Fatal(err)
	}
	for name, stall := range map[string]func(c *client){
		"while it asks": func(c *client) {
			c.nc.Write(asked[:len(asked)/2+(40<<10)])
			for range 3 {
				time.Sleep(50 * time.Second)
				c.nc.Write(make([]byte, 1))
			}
		},
		"while it is answered": func(c *client) { c.nc.Write(asked) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gaveUp := make(chan struct{})
				ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
					if strings.HasPrefix(e.(activity.Log).Text, "gave up a connection") {
						close(gaveUp)
					}
				}))
				l := make(pipes, 1)
				ended := make(chan error)
				go func() {
					h := &server.Server{Store: memstore.New(nil), Options: &server.Options{StallTimeout: time.Hour}}
					ended <- h.Serve(ctx, l)
				}()
				ours, theirs := net.Pipe()
				l <- theirs
				c := &client{t: t, nc: ours, in: wire.NewReader(ours, 4096)}
				if c.params, _, err = protocol.ClientHandshake(c.in, ours, storepath.DefaultDir); err == nil {
					err = c.messages()
				}
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				stalled := make(chan struct{})
				go func() { defer close(stalled); stall(c) }()
				<-gaveUp
				if took := time.Since(start); took > 5*time.Minute {
					t.Errorf("it had its share for %v", took)
				}
				ours.Close()
				close(l)
				<-stalled
				<-ended
			})
		})
	}
}

// pipes is a listener to which connections are given.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	nc, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return nc, nil
}
func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return &net.UnixAddr{} }
