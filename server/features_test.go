package server_test

import (
	"context"
	"io"
	"net"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// dialFeatures is dial for a client that offers all features, including build features.
func dialFeatures(t testing.TB, s store.Store, opts *server.Options) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	c := &client{t: t, nc: ours, in: wire.NewReader(ours, 4096), served: make(chan error, 1)}
	go func() { c.served <- server.Serve(context.Background(), theirs, s, opts) }()
	t.Cleanup(func() { c.hangUp() })
	all := protocol.AllFeatures | protocol.BuildFeatures
	version := opts.Version
	if version == 0 {
		version = protocol.MaxVersion
	}
	go func() {
		hello := wire.AppendUint64(wire.AppendUint64(nil, 0x6e697863), uint64(protocol.MaxVersion))
		if version == protocol.MaxVersion {
			hello = wire.AppendStrings(hello, all.Names())
		}
		ours.Write(append(hello, make([]byte, 16)...))
	}()
	c.params = protocol.Params{Version: version, Dir: s.Dir()}
	if _, err := c.in.Uint64(); err != nil {
		t.Fatal(err)
	}
	if v, err := c.in.Uint64(); err != nil || protocol.Version(v) != version {
		t.Fatal(v, err)
	}
	if version == protocol.MaxVersion {
		c.params.Features = c.readFeatures(all)
	}
	if version >= protocol.MakeVersion(33) {
		if _, err := c.in.String(100); err != nil {
			t.Fatal(err)
		}
	}
	if version >= protocol.MakeVersion(35) {
		if _, err := c.in.Uint64(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.messages(); err != nil {
		t.Fatal(err)
	}
	return c
}

// readFeatures reads the features that the server offers.
func (c *client) readFeatures(all protocol.Features) (offered protocol.Features) {
	c.t.Helper()
	n, err := c.in.Uint64()
	if err != nil {
		c.t.Fatal(err)
	}
	for range n {
		name, err := c.in.String(100)
		if err != nil {
			c.t.Fatal(err)
		}
		for bit := protocol.Features(1); bit != 0; bit <<= 1 {
			if all.Has(bit) && bit.String() == name {
				offered |= bit
			}
		}
	}
	return offered
}

// scannerOnly and submitterOnly each have one of the two capabilities.
type scannerOnly struct {
	store.Store
	store.ScanningAdder
}
type submitterOnly struct {
	store.Store
	store.OutputSubmitter
}

// Build features are offered if the options contain them and the store has the capability.
func TestOfferedFeatures(t *testing.T) {
	s := memstore.New(nil)
	r := &recorder{Store: s}
	for name, c := range map[string]struct {
		store store.Store
		opts  server.Options
		want  protocol.Features
	}{
		"as usual":                     {r, server.Options{}, protocol.AllFeatures},
		"everything":                   {r, server.Options{BuildFeatures: protocol.BuildFeatures}, protocol.AllFeatures | protocol.BuildFeatures},
		"only those of builds":         {r, server.Options{NoFeatures: true, BuildFeatures: protocol.BuildFeatures}, protocol.BuildFeatures},
		"one of the others":            {r, server.Options{NoFeatures: true, BuildFeatures: protocol.AllFeatures}, protocol.RealisationWithPath},
		"a store that has none":        {s, server.Options{BuildFeatures: protocol.BuildFeatures}, protocol.AllFeatures | protocol.NoSetOptions},
		"a store that scans":           {scannerOnly{s, r}, server.Options{BuildFeatures: protocol.BuildFeatures}, protocol.AllFeatures&^protocol.ActiveBuilds | protocol.NoSetOptions | protocol.Scanning},
		"a store that is submitted to": {submitterOnly{s, r}, server.Options{BuildFeatures: protocol.BuildFeatures}, protocol.AllFeatures&^protocol.ActiveBuilds | protocol.NoSetOptions | protocol.OutputSubmission},
		"an old protocol":              {r, server.Options{BuildFeatures: protocol.BuildFeatures, Version: protocol.MakeVersion(37)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := dialFeatures(t, c.store, &c.opts).params.Features; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// refusing is the store of a running build that refuses all its operations.
type refusing struct{ store.Store }

func (refusing) AddToStoreScanning(_ context.Context, _ string, _ storepath.Method, _ nixhash.Algorithm, contents io.Reader) (*store.PathInfo, error) {
	contents.Read(make([]byte, 1))
	return nil, io.ErrShortBuffer
}
func (refusing) SubmitOutput(context.Context, derivation.SingleDerivedPath, string) error {
	return io.ErrShortBuffer
}

// The operations of builds are served, errors leave the connection in step, and there are no
// settings.
func TestServeABuild(t *testing.T) {
	opts := &server.Options{BuildFeatures: protocol.BuildFeatures}
	scan := &protocol.AddToStoreScanningRequest{Name: "a", Method: storepath.Flat, Algorithm: nixhash.SHA256}
	submit := &protocol.SubmitOutputRequest{Path: derivation.Opaque{Path: absent}, Output: "out"}
	good := dialFeatures(t, &recorder{Store: memstore.New(nil)}, opts)
	bad := dialFeatures(t, refusing{memstore.New(nil)}, opts)
	for range 2 {
		must[*protocol.AddToStoreReply](good, scan, make([]byte, 100_000))
		must[*protocol.Ack](good, submit, nil)
		for _, req := range []protocol.Request{scan, submit} {
			var body []byte
			if req == protocol.Request(scan) {
				body = make([]byte, 100_000)
			}
			if _, err := bad.ask(req, body); err == nil || err.Error() != io.ErrShortBuffer.Error() {
				t.Errorf("%s: %v", req.Op(), err)
			}
		}
	}
	c := dialFeatures(t, refusing{memstore.New(nil)}, opts)
	c.nc.Write(wire.AppendUint64(nil, uint64(protocol.SetOptions)))
	c.refused("during a build")
}
