package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"pix/daemon"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// A method or an algorithm that the daemon cannot support is refused before anything is sent or
// read, and the connection stays usable.
func TestUnknownMethod(t *testing.T) {
	const text, flat, archive, git = storepath.Text, storepath.Flat, storepath.NAR, storepath.Git
	for _, c := range []struct {
		minor uint8
		nix   string
		m     storepath.Method
		a     nixhash.Algorithm
		want  string // the error; "" means none
	}{
		{38, "2.34.8", text, nixhash.SHA512, "texts are addressed by their sha256"},
		{38, "2.36.0", git, nixhash.MD5, "git objects are addressed by their sha1 or sha256"},
		{34, "2.8.0", git, nixhash.SHA1, "the daemon speaks protocol 1.34, but Nix 2.21 or later is needed, which speaks 1.37"},
		{35, "2.93.0", git, nixhash.SHA1, "the daemon speaks protocol 1.35"},
		{37, "2.20.5", git, nixhash.SHA1, "the daemon is Nix 2.20.5, but 2.21 or later is needed"},
		{37, "2.21.0", git, nixhash.SHA1, ""},
		{38, "2.26.3", git, nixhash.SHA256, ""},
		{37, "2.23.0", flat, nixhash.BLAKE3, "the daemon speaks protocol 1.37, but Nix 2.27 or later is needed, which speaks 1.38"},
		{38, "2.26.3", archive, nixhash.BLAKE3, "the daemon is Nix 2.26.3, but 2.27 or later is needed"},
		{38, "2.26pre20241212_0123abc", flat, nixhash.BLAKE3, "the daemon is Nix 2.26pre20241212_0123abc"},
		{38, "1.11.16", flat, nixhash.BLAKE3, "the daemon is Nix 1.11.16"},
		{38, "2.27.0", flat, nixhash.BLAKE3, ""},
		{38, "2.34.8-pix", archive, nixhash.BLAKE3, ""},
		{38, "3.0", archive, nixhash.BLAKE3, ""},
		{38, "pix", archive, nixhash.BLAKE3, ""},
		{38, "2.x", archive, nixhash.BLAKE3, ""},
		{38, "", archive, nixhash.BLAKE3, ""},
		{25, "", archive, nixhash.MD5, ""},
		{21, "", flat, nixhash.BLAKE3, "the daemon speaks protocol 1.21"},
		{21, "", git, nixhash.SHA1, "the daemon speaks protocol 1.21"},
	} {
		g := protocol.Greeting{DaemonVersion: protocol.MakeVersion(c.minor), NixVersion: c.nix}
		playAs(t, g, protocol.Scanning, &daemon.Options{Features: protocol.Scanning}, (*peer).serveAll, func(ctx context.Context, conn *daemon.Conn) {
			check := func(op string, err error, contents *bytes.Reader) {
				t.Helper()
				if c.want == "" {
					if err != nil {
						t.Errorf("1.%d, Nix %q, %s: %s with %s: %v", c.minor, c.nix, op, c.m, c.a, err)
					}
					return
				}
				if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "cannot add by method "+c.m.String()) {
					t.Errorf("1.%d, Nix %q, %s: %s with %s: %v, want %s", c.minor, c.nix, op, c.m, c.a, err, c.want)
				}
				if contents != nil && contents.Len() != int(contents.Size()) {
					t.Errorf("%s: the contents were read", op)
				}
			}
			contents := bytes.NewReader(fakeNAR)
			_, err := conn.AddToStore(ctx, "x", c.m, c.a, nil, contents, nil)
			check("AddToStore", err, contents)

			info := fakeInfo
			if info.CA, err = storepath.NewContentAddress(c.m, nixhash.Sum(c.a, nil)); err != nil {
				t.Fatal(err)
			}
			contents = bytes.NewReader(fakeNAR)
			check("AddToStoreNAR", conn.AddToStoreNAR(ctx, &info, contents, nil), contents)

			if conn.Features().Has(protocol.Scanning) {
				contents = bytes.NewReader(fakeNAR)
				_, err = conn.AddToStoreScanning(ctx, "x", c.m, c.a, contents)
				check("AddToStoreScanning", err, contents)
			}
			stillGood(t, ctx, conn)
		})
	}
}

// A program in a build offers the features that only its daemon has. Other programs do not.
func TestBuildFeatures(t *testing.T) {
	use := func(ctx context.Context, c *daemon.Conn) error {
		_, err := c.AddToStoreScanning(ctx, "x", storepath.Flat, nixhash.SHA256, strings.NewReader("contents"))
		if err == nil {
			err = c.SubmitOutput(ctx, derivation.Opaque{Path: helloPath}, "out")
		}
		return err
	}
	g := protocol.Greeting{DaemonVersion: newest, NixVersion: "2.36.0"}
	all := protocol.AllFeatures | protocol.BuildFeatures
	playAs(t, g, all, &daemon.Options{Features: protocol.BuildFeatures}, func(p *peer) {
		if p.params.Features != all {
			t.Errorf("negotiated %s", p.params.Features)
		}
		req, ok := p.next().(*protocol.AddToStoreScanningRequest)
		if !ok || req.Name != "x" {
			t.Errorf("the daemon got %+v", req)
		}
		contents, err := io.ReadAll(wire.NewFrameReader(p.in))
		if err := expect(string(contents), err, "contents"); err != nil {
			t.Error(err)
		}
		p.answer(protocol.AddToStoreScanning, fakeAdded(req, contents))
		if req, ok := p.next().(*protocol.SubmitOutputRequest); !ok || req.Output != "out" {
			t.Errorf("the daemon got %+v", req)
		}
		p.answer(protocol.SubmitOutput, new(protocol.Ack))
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		if err := use(ctx, c); err != nil {
			t.Error(err)
		}
		stillGood(t, ctx, c)
	})
	playAs(t, g, all, nil, (*peer).serve, func(ctx context.Context, c *daemon.Conn) {
		if err := use(ctx, c); !errors.Is(err, errors.ErrUnsupported) || c.Features() != protocol.AllFeatures {
			t.Errorf("%v, negotiated %s", err, c.Features())
		}
		stillGood(t, ctx, c)
	})
}
