package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/wire"
)

func reader(b []byte) *wire.Reader { return wire.NewReader(bytes.NewReader(b), 0) }

// normal clears the fields of a value that the protocol does not carry.
func normal(p Params, v any) any {
	withPath := p.Features.Has(RealisationWithPath)
	id := func(id *store.DrvOutput) {
		if withPath {
			id.Hash = nixhash.Hash{}
		} else {
			id.Path = ""
		}
	}
	switch v := v.(type) {
	case *RegisterDrvOutputRequest:
		id(&v.Realisation.ID)
	case *QueryRealisationRequest:
		id(&v.ID)
	case *QueryRealisationReply:
		if v.Realisation == nil {
			break
		}
		if id(&v.Realisation.ID); withPath {
			v.Realisation.ID = store.DrvOutput{}
		}
	case *QueryMissingReply:
		v.Dynamic = nil // not in the protocol
	case *CollectGarbageReply:
		v.ArchiveBytes = 0 // not in the protocol
	case *BuildDerivationReply:
		normalResult(p, &v.Result)
	case *BuildPathsWithResultsReply:
		for i := range v.Results {
			normalResult(p, &v.Results[i].BuildResult)
		}
	case *AddToStoreReply:
		if p.Version < framedAdd {
			v.Info = store.PathInfo{Path: v.Info.Path}
		}
	case *AddToStoreRequest:
		if p.Version < framedAdd {
			v.Repair, v.References = false, nil
		}
	}
	return v
}

func normalResult(p Params, r *store.BuildResult) {
	withPath := p.Features.Has(RealisationWithPath)
	for name, o := range r.Outputs {
		if !withPath && r.DrvHash.IsZero() {
			o.Signatures = nil // the short form has no signatures
		}
		r.Outputs[name] = o
	}
	if len(r.Outputs) == 0 || p.Version < MakeVersion(28) {
		r.Outputs = nil
	}
	if withPath || r.Outputs == nil {
		r.DrvHash = nixhash.Hash{}
	}
	if p.Version < MakeVersion(29) {
		*r = store.BuildResult{Status: r.Status, Message: r.Message, Outputs: r.Outputs, DrvHash: r.DrvHash}
	}
	if p.Version < MakeVersion(37) {
		r.CPUUser, r.CPUSystem = nil, nil
	}
}

// A request is decoded unchanged, in every version and with all features. If it cannot be
// encoded, nothing is appended.
func TestRequestRoundTrip(t *testing.T) {
	written := map[Op]int{}
	for _, p := range allParams() {
		for _, row := range Operations() {
			for seed := range uint64(8) {
				req := row.request()
				newFiller(seed).fill(req)
				b, err := p.AppendRequest([]byte("before"), req)
				if errors.Is(err, errors.ErrUnsupported) {
					if string(b) != "before" {
						t.Fatalf("%s of %s: an error, but %d bytes were appended", row.Name, p.Version, len(b))
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s of %s %s: %v", row.Name, p.Version, p.Features, err)
				}
				if p.Check(row.Op) != nil {
					t.Fatalf("%s of %s %s is sent, but not supported", row.Name, p.Version, p.Features)
				}
				written[row.Op]++
				in := reader(b[len("before"):])
				got, err := p.ReadRequest(in)
				if err != nil || in.Peek() != io.EOF {
					t.Fatalf("%s of %s %s: %v, at %d of %d", row.Name, p.Version, p.Features, err, in.Offset(), len(b))
				}
				if want := normal(p, req); !reflect.DeepEqual(got, want) {
					t.Fatalf("%s of %s %s: read\n%s\ninstead of\n%s", row.Name, p.Version, p.Features, show(got), show(want))
				}
			}
		}
	}
	for _, row := range Operations() {
		if written[row.Op] < 4 {
			t.Errorf("%s was encoded only %d times", row.Name, written[row.Op])
		}
	}
}

func show(v any) string { return fmt.Sprintf("%#v", v) }

// The same for replies.
func TestReplyRoundTrip(t *testing.T) {
	for _, p := range allParams() {
		for _, row := range Operations() {
			if p.Check(row.Op) != nil {
				continue
			}
			for seed := range uint64(8) {
				reply := row.reply()
				newFiller(seed).fill(reply)
				b, err := p.AppendReply([]byte("before"), row.Op, reply)
				if errors.Is(err, errors.ErrUnsupported) {
					continue
				}
				if err != nil {
					t.Fatalf("%s of %s %s: %v", row.Name, p.Version, p.Features, err)
				}
				in, got := reader(b[len("before"):]), NewReply(row.Op)
				if err := p.ReadReply(in, row.Op, got); err != nil || in.Peek() != io.EOF {
					t.Fatalf("%s of %s %s: %v, at %d of %d", row.Name, p.Version, p.Features, err, in.Offset(), len(b))
				}
				if want := normal(p, reply); !reflect.DeepEqual(got, want) {
					t.Fatalf("%s of %s %s: read\n%s\ninstead of\n%s", row.Name, p.Version, p.Features, show(got), show(want))
				}
			}
		}
	}
}

// The same for messages.
func TestMessageRoundTrip(t *testing.T) {
	for _, p := range allParams() {
		for seed := range uint64(64) {
			var m Message
			newFiller(seed).fill(&m)
			b, err := p.AppendMessage(nil, m)
			if errors.Is(err, errors.ErrUnsupported) && p.Version < activityVersion {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			in := reader(b)
			got, err := p.ReadMessage(in)
			if err != nil || in.Peek() != io.EOF {
				t.Fatalf("%s of %s: %v", m.Kind, p.Version, err)
			}
			if m.Err != nil && p.Version < structuredErrors {
				m.Err.Level, m.Err.Traces = 0, nil
			}
			if !reflect.DeepEqual(got, m) {
				t.Fatalf("%s of %s: read\n%s\ninstead of\n%s", m.Kind, p.Version, show(got), show(m))
			}
		}
	}
}

// Both sides of a handshake negotiate the same, for all offers.
func TestHandshake(t *testing.T) {
	for server := MinVersion; server <= MaxVersion; server++ {
		for client := MinVersion; client <= MaxVersion; client++ {
			g := Greeting{DaemonVersion: server, NixVersion: "2.34.8", Trust: NotTrusted}
			testHandshake(t, g, client, AllFeatures|BuildFeatures, RealisationWithPath)
		}
	}
	for f := Features(0); f < 1<<numFeatures; f++ {
		testHandshake(t, Greeting{DaemonVersion: MaxVersion, Trust: Trusted}, MaxVersion, f, AllFeatures|BuildFeatures)
	}
}

func testHandshake(t *testing.T, g Greeting, client Version, theirs, ours Features) {
	t.Helper()
	want := Params{Version: min(client, g.DaemonVersion), Dir: testDir}
	if want.Version == MaxVersion {
		want.Features = theirs & ours
	}
	if want.Version < MakeVersion(33) {
		g.NixVersion = ""
	}
	if want.Version < MakeVersion(35) {
		g.Trust = TrustUnknown
	}
	c, s := newPipe()
	type result struct {
		p   Params
		err error
	}
	served := make(chan result, 1)
	go func() {
		p, err := ServerHandshake(s.reader(), s, testDir, g, ours)
		served <- result{p, err}
	}()
	p, got, err := clientHandshake(c.reader(), c, testDir, client, theirs)
	r := <-served
	if err != nil || r.err != nil || p != want || r.p != want || got != g {
		t.Fatalf("%s and %s, %s and %s: client: %v, %v, %v, server: %v, %v", client, g.DaemonVersion, theirs, ours, p, got, err, r.p, r.err)
	}
}

// Nix's client waits for the features of the server before it sends the rest of its greeting.
func TestServerFeaturesFirst(t *testing.T) {
	c, s := newPipe()
	served := make(chan error, 1)
	go func() {
		_, err := ServerHandshake(s.reader(), s, testDir, Greeting{DaemonVersion: MaxVersion, NixVersion: "2.34.8"}, AllFeatures)
		s.Close()
		served <- err
	}()
	in := c.reader()
	c.Write(words(clientMagic, uint64(MaxVersion)))
	if v, err := readDaemonVersion(in); err != nil || v != MaxVersion {
		t.Fatal(v, err)
	}
	c.Write(wire.AppendStrings(nil, []string{"unheard-of"}))
	dec := Params{}.decoder(in, 0, "test")
	var names []string
	if dec.featureNames(&names); dec.err != nil || !reflect.DeepEqual(names, AllFeatures.Names()) {
		t.Fatal(names, dec.err)
	}
	c.Write(words(0, 0))
	dec.Version = MaxVersion
	var g Greeting
	if dec.greeting(&g); dec.err != nil || g.NixVersion != "2.34.8" || in.Peek() != io.EOF {
		t.Error(g, dec.err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
