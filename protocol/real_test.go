package protocol

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A session is a minimal client: it sends one request at a time.
type session struct {
	Params
	nc net.Conn
	in *wire.Reader
}

func dialReal(t *testing.T, d *realnix.Daemon, offer Version) *session {
	t.Helper()
	nc, err := net.Dial("unix", d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	s := &session{nc: nc, in: wire.NewReader(nc, 4096)}
	if s.Params, _, err = clientHandshake(s.in, nc, testDir, offer, AllFeatures); err != nil {
		t.Fatal(err)
	}
	if err := s.last(nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// last reads messages up to Last, and sends the body when the daemon asks for it.
func (s *session) last(body *bytes.Reader) error {
	for {
		m, err := s.ReadMessage(s.in)
		switch {
		case err != nil:
			return err
		case m.Kind == MessageLast:
			return nil
		case m.Kind == MessageError:
			return m.Err
		case m.Kind == MessageRead:
			part := make([]byte, min(int(m.Want), body.Len()))
			io.ReadFull(body, part)
			if _, err := s.nc.Write(wire.AppendString(nil, part)); err != nil {
				return err
			}
		}
	}
}

// do sends a request with its body. It returns the reply, and the archive of known length that
// follows it.
func (s *session) do(req Request, body []byte, archive int) (Reply, []byte, error) {
	b, err := s.AppendRequest(nil, req)
	if err != nil {
		return nil, nil, err
	}
	row, _ := Lookup(req.Op())
	switch row.Body(s.Params) {
	case FramedBody:
		b = append(wire.AppendUint64(b, uint64(len(body))), body...)
		b = wire.AppendUint64(b, 0)
	case NARBody:
		b = append(b, body...)
	case AskedBody, NoBody:
	}
	if _, err := s.nc.Write(b); err != nil { // the daemon may have sent an error before it hung up
		if said := s.last(nil); said != nil {
			err = said
		}
		return nil, nil, err
	}
	if err := s.last(bytes.NewReader(body)); err != nil {
		return nil, nil, err
	}
	reply := NewReply(req.Op())
	if err := s.ReadReply(s.in, req.Op(), reply); err != nil || !row.Archive {
		return reply, nil, err
	}
	nar := make([]byte, archive)
	_, err = io.ReadFull(s.in, nar)
	return reply, nar, err
}

// fileNAR returns the archive of a regular file.
func fileNAR(contents string) (nar []byte) {
	for _, s := range []string{"nix-archive-1", "(", "type", "regular", "contents", contents, ")"} {
		nar = wire.AppendString(nar, s)
	}
	return nar
}

// addable returns a file that AddToStoreNar can add, and its archive.
func addable(t *testing.T, name, contents string) (*store.PathInfo, []byte) {
	nar := fileNAR(contents)
	hash := nixhash.Sum(nixhash.SHA256, nar)
	path, err := testDir.SourcePath(name, hash, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := storepath.NewContentAddress(storepath.NAR, hash)
	if err != nil {
		t.Fatal(err)
	}
	return &store.PathInfo{Path: path, NARHash: hash, NARSize: uint64(len(nar)), CA: ca}, nar
}

// Each operation that the daemon supports is called twice on one connection. Each other
// operation is refused.
func TestRealOperations(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) { testOperations(t, s, MaxVersion) })
}

// The same with newer daemons and older versions offered by the client. This tests all forms of
// the fields that daemons in use accept.
func TestRealOldVersions(t *testing.T) {
	for _, name := range []string{"bookworm", "sid"} {
		for _, minor := range []uint8{18, 20, 21, 22, 23, 25, 27, 29, 31, 33, 35, 37} {
			v := MakeVersion(minor)
			t.Run(name+"/"+v.String(), func(t *testing.T) { testOperations(t, realnix.Get(t, name), v) })
		}
	}
}

func testOperations(t *testing.T, s realnix.Suite, offer Version) {
	config := map[string]string{}
	if !strings.HasPrefix(s.Version, "2.3.") {
		config["experimental-features"] = "nix-command ca-derivations" // for realisations
	}
	d := realnix.Start(t, s, &realnix.Options{Config: config})
	c := dialReal(t, d, offer)
	const contents = "hello world"
	reply, _, err := c.do(&AddTextToStoreRequest{Name: "hello.txt", Contents: contents}, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	hello := reply.(*PathReply).Path
	expr := `derivation { name = "x"; system = builtins.currentSystem; builder = "/bin/sh"; args = ["-c" "echo hi > $out"]; }`
	drv := storepath.Path(strings.TrimSpace(d.MustRun(t, "nix-instantiate", "-E", expr)))
	text, err := os.ReadFile(d.HostPath(string(drv)))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := derivation.ParseAt(drv, string(text))
	if err != nil {
		t.Fatal(err)
	}
	built := []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}
	_, out := parsed.Outputs.At(0)

	one, oneNAR := addable(t, "one", "1")
	two, twoNAR := addable(t, "two", "2")
	many, err := c.AppendPathInfo(wire.AppendUint64(nil, 1), two)
	if err != nil {
		t.Fatal(err)
	}
	many = append(many, twoNAR...)
	helloNAR := fileNAR(contents)
	added := fileNAR("flat")
	if c.Version >= framedAdd {
		added = []byte("flat")
	}
	id := store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Path: drv, Output: "out"}
	realisation := store.KeyedRealisation{ID: id, Realisation: store.Realisation{OutPath: hello}}

	requests := []struct {
		req  Request
		body []byte
	}{
		{req: &IsValidPathRequest{hello}},
		{req: &AddTextToStoreRequest{Name: "refers", Contents: string(hello), References: []storepath.Path{hello}}},
		{req: &QueryReferrersRequest{hello}},
		{req: &AddToStoreRequest{Name: "flat", Method: storepath.Flat, Algorithm: nixhash.SHA256}, body: added},
		{req: &BuildPathsRequest{Paths: built}},
		{req: &BuildPathsWithResultsRequest{Paths: built}},
		{req: &BuildDerivationRequest{Path: drv, Derivation: parsed}},
		{req: &EnsurePathRequest{hello}},
		{req: &AddTempRootRequest{hello}},
		{req: &AddIndirectRootRequest{"/tmp/link"}},
		{req: &AddPermRootRequest{hello, "/tmp/perm"}},
		{req: &SyncWithGCRequest{}},
		{req: &FindRootsRequest{}},
		{req: &QueryDeriverRequest{out.Path()}},
		{req: &SetOptionsRequest{Verbosity: activity.LevelError, Overrides: map[string]string{"connect-timeout": "3"}}},
		{req: &CollectGarbageRequest{store.GCOptions{Action: store.GCReturnLive, MaxFreed: math.MaxUint64}}},
		{req: &CollectGarbageRequest{store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{}}}},
		{req: &QuerySubstitutablePathInfoRequest{hello}},
		{req: &QuerySubstitutablePathInfosRequest{map[storepath.Path]storepath.ContentAddress{hello: {}}}},
		{req: &QuerySubstitutablePathsRequest{[]storepath.Path{hello}}},
		{req: &QueryDerivationOutputsRequest{drv}},
		{req: &QueryDerivationOutputNamesRequest{drv}},
		{req: &QueryDerivationOutputMapRequest{drv}},
		{req: &QueryAllValidPathsRequest{}},
		{req: &QueryPathInfoRequest{hello}},
		{req: &QueryPathFromHashPartRequest{hello.HashPart()}},
		{req: &QueryValidPathsRequest{Paths: []storepath.Path{hello}}},
		{req: &QueryValidDeriversRequest{out.Path()}},
		{req: &OptimiseStoreRequest{}},
		{req: &VerifyStoreRequest{CheckContents: true}},
		{req: &AddSignaturesRequest{hello, []string{"key-1:" + strings.Repeat("A", 86) + "=="}}},
		{req: &NarFromPathRequest{hello}},
		{req: &AddToStoreNarRequest{Info: *one, Repair: true, DontCheckSigs: true}, body: oneNAR},
		{req: &AddMultipleToStoreRequest{Repair: true, DontCheckSigs: true}, body: many},
		{req: &QueryMissingRequest{built}},
		{req: &RegisterDrvOutputRequest{realisation}},
		{req: &QueryRealisationRequest{id}},
		{req: &AddBuildLogRequest{drv}, body: []byte("log")},
		{req: &SubmitOutputRequest{derivation.Opaque{Path: hello}, "out"}},
		{req: &AddToStoreScanningRequest{"a", storepath.NAR, nixhash.SHA256}},
	}
	done := map[Op]bool{}
	for _, r := range requests {
		op := r.req.Op()
		if done[op] = true; errors.Is(c.Check(op), errors.ErrUnsupported) {
			if offer == MaxVersion { // daemons accept their operations at all versions
				refused(t, d, op)
			}
			continue
		}
		var first string
		for i := range 2 {
			reply, nar, err := c.do(r.req, r.body, len(helloNAR))
			if err != nil {
				t.Fatalf("%s: %v\n%s", c.TraceRequest(r.req, TraceBody), err, d.Stderr())
			}
			line := c.TraceReply(op, reply, TraceBody)
			if i == 0 {
				t.Log(line)
				first = line
			} else if row, _ := Lookup(op); row.Query && line != first {
				t.Errorf("the second reply is %s", line)
			}
			if nar != nil && !bytes.Equal(nar, helloNAR) {
				t.Errorf("got the archive %q", nar)
			}
			checkReply(t, hello, reply)
		}
	}
	done[AddTempRoots], done[QueryPathInfos], done[QueryActiveBuilds] = true, true, true // operations of Determinate Nix
	for _, row := range Operations() {
		if !done[row.Op] {
			t.Errorf("%s was not called", row.Name)
		}
	}
}

// checkReply checks the replies with known contents.
func checkReply(t *testing.T, hello storepath.Path, reply Reply) {
	t.Helper()
	ok := true
	switch r := reply.(type) {
	case *IsValidPathReply:
		ok = r.Valid
	case *QueryPathInfoReply:
		ok = r.Info != nil && r.Info.NARHash == nixhash.Sum(nixhash.SHA256, fileNAR("hello world"))
	case *QueryRealisationReply:
		ok = r.Realisation != nil && r.Realisation.OutPath == hello
	case *BuildDerivationReply:
		ok = r.Result.Status.Succeeded()
	case *BuildPathsWithResultsReply:
		ok = len(r.Results) == 1 && r.Results[0].Status.Succeeded() && len(r.Results[0].Outputs) == 1
	case *QueryDerivationOutputMapReply:
		ok = len(r.Outputs) == 1
	case *VerifyStoreReply:
		ok = !r.Errors
	case *AddPermRootReply:
		ok = r.Link == "/tmp/perm"
	}
	if !ok {
		t.Errorf("%s", show(reply))
	}
}

// refused checks that the daemon refuses an operation that it should not support.
func refused(t *testing.T, d *realnix.Daemon, op Op) {
	t.Helper()
	c := dialReal(t, d, MaxVersion)
	if _, err := c.nc.Write(wire.AppendUint64(nil, uint64(op))); err != nil {
		t.Fatal(err)
	}
	var said *activity.Error
	if err := c.last(nil); !errors.As(err, &said) || !strings.Contains(said.Error(), "invalid operation") {
		t.Errorf("the daemon of %s supports %s: %v", c.Version, op, err)
	}
}

// A daemon that does not trust the user refuses exactly the requests that need trust.
func TestRealTrust(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, &realnix.Options{Untrusted: true})
		reply, _, err := dialReal(t, d, MaxVersion).do(&AddTextToStoreRequest{Name: "hello.txt"}, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		hello := reply.(*PathReply).Path
		drv := storepath.Path(strings.TrimSpace(d.MustRun(t, "nix-instantiate", "-E", `derivation { name = "x"; system = "none"; builder = "none"; }`)))
		text, err := os.ReadFile(d.HostPath(string(drv)))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := derivation.ParseAt(drv, string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, req := range []Request{
			&BuildPathsRequest{Mode: store.BuildNormal},
			&BuildPathsRequest{Mode: store.BuildRepair},
			&BuildPathsWithResultsRequest{Mode: store.BuildRepair},
			&BuildDerivationRequest{Path: drv, Derivation: parsed},
			&VerifyStoreRequest{},
			&VerifyStoreRequest{Repair: true},
			&AddSignaturesRequest{hello, []string{"key-1:" + strings.Repeat("A", 86) + "=="}},
			&AddBuildLogRequest{drv},
			&AddPermRootRequest{hello, "/tmp/perm"},
			&FindRootsRequest{},
		} {
			c := dialReal(t, d, MaxVersion)
			_, _, err := c.do(req, nil, 0)
			if errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			refused := err != nil && (strings.Contains(err.Error(), "not privileged") || strings.Contains(err.Error(), "trusted-users"))
			if refused != c.NeedsTrust(req) {
				t.Errorf("%s: NeedsTrust = %v, but the daemon returns %v", c.TraceRequest(req, TraceBody), c.NeedsTrust(req), err)
			}
		}
	})
}
