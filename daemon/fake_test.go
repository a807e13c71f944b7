package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"

	"pix/daemon"
	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// Objects of a fake daemon. It answers every operation, always with the same reply.
var (
	fakeNAR  = fileNAR("hello world")
	fakeInfo = store.PathInfo{
		Path: helloPath, NARHash: nixhash.Sum(nixhash.SHA256, fakeNAR), NARSize: uint64(len(fakeNAR)),
		References: []storepath.Path{helloPath}, Signatures: []string{"key:" + strings.Repeat("A", 86) + "=="},
	}
	fakeDrv    = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent.drv")
	fakeOutput = store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}
	fakeResult = store.BuildResult{Status: store.Built, Outputs: map[string]store.Realisation{"out": {OutPath: helloPath}}}
	fakeBuilt  = []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: fakeDrv}, Outputs: derivation.AllOutputs()}}
	fakePaths  = []storepath.Path{helloPath}
)

// isKnown reports whether a path is valid. All are, except absent and the path that the client
// queries after a refused upload.
func isKnown(path storepath.Path) bool { return path != absent && path.Name() != "probe" }

// fakeReply returns the reply to a request.
func fakeReply(req protocol.Request) protocol.Reply {
	switch req := req.(type) {
	case *protocol.IsValidPathRequest:
		return &protocol.IsValidPathReply{Valid: isKnown(req.Path)}
	case *protocol.QueryPathInfoRequest:
		info := fakeInfo
		return &protocol.QueryPathInfoReply{Info: &info}
	case *protocol.QueryDeriverRequest:
		return &protocol.OptionalPathReply{Path: fakeDrv}
	case *protocol.QueryPathFromHashPartRequest:
		return &protocol.OptionalPathReply{Path: helloPath}
	case *protocol.QueryDerivationOutputMapRequest:
		return &protocol.QueryDerivationOutputMapReply{Outputs: map[string]storepath.Path{"out": helloPath}}
	case *protocol.QueryDerivationOutputNamesRequest:
		return &protocol.QueryDerivationOutputNamesReply{Names: []string{"out"}}
	case *protocol.QuerySubstitutablePathInfoRequest:
		return &protocol.QuerySubstitutablePathInfoReply{Info: &store.SubstitutableInfo{NARSize: 7}}
	case *protocol.QuerySubstitutablePathInfosRequest:
		return &protocol.QuerySubstitutablePathInfosReply{Infos: []store.SubstitutableInfo{{Path: helloPath}}}
	case *protocol.QueryMissingRequest:
		return &protocol.QueryMissingReply{Missing: store.Missing{WillBuild: []storepath.Path{fakeDrv}}}
	case *protocol.QueryRealisationRequest:
		return &protocol.QueryRealisationReply{Realisation: &store.KeyedRealisation{ID: req.ID, Realisation: store.Realisation{OutPath: helloPath}}}
	case *protocol.AddToStoreRequest, *protocol.AddToStoreScanningRequest:
		return &protocol.AddToStoreReply{Info: fakeInfo}
	case *protocol.AddTextToStoreRequest:
		return &protocol.PathReply{Path: helloPath}
	case *protocol.BuildPathsWithResultsRequest:
		return &protocol.BuildPathsWithResultsReply{Results: []store.KeyedBuildResult{{Path: fakeBuilt[0], BuildResult: fakeResult}}}
	case *protocol.BuildDerivationRequest:
		return &protocol.BuildDerivationReply{Result: fakeResult}
	case *protocol.AddPermRootRequest:
		return &protocol.AddPermRootReply{Link: req.Link}
	case *protocol.FindRootsRequest:
		return &protocol.FindRootsReply{Roots: []store.Root{{Link: "/link", Path: helloPath}}}
	case *protocol.CollectGarbageRequest:
		return &protocol.CollectGarbageReply{GCResult: store.GCResult{Paths: []string{string(helloPath)}, BytesFreed: 7}}
	}
	reply := protocol.NewReply(req.Op())
	if paths, ok := reply.(*protocol.PathsReply); ok {
		paths.Paths = fakePaths
	}
	return reply
}

// serveAll answers every operation, with a log line before each reply, until the connection
// ends.
func (p *peer) serveAll() {
	for req := p.next(); req != nil; req = p.next() {
		row, _ := protocol.Lookup(req.Op())
		p.log("working on " + row.Name)
		if p.do(req) != nil {
			return
		}
	}
}

// do reads the body of a request and answers it.
func (p *peer) do(req protocol.Request) error {
	row, _ := protocol.Lookup(req.Op())
	var contents bytes.Buffer
	if err := p.readBody(row.Body(p.params), &contents); err != nil {
		return err
	}
	added := contents.Bytes()
	if add, ok := req.(*protocol.AddToStoreRequest); ok && add.Method == storepath.Flat && row.Body(p.params) == protocol.NARBody {
		var err error
		if added, err = readFile(added); err != nil {
			return err
		}
	}
	p.answer(req.Op(), fakeAdded(req, added))
	if row.Archive {
		p.nc.Write(fakeNAR)
	}
	return nil
}

// fakeAdded is fakeReply, and returns the path that follows from contents that were added.
func fakeAdded(req protocol.Request, contents []byte) protocol.Reply {
	reply := fakeReply(req)
	added, ok := reply.(*protocol.AddToStoreReply)
	if !ok {
		return reply
	}
	var name string
	var method storepath.Method
	var algo nixhash.Algorithm
	references := storepath.References{}
	switch req := req.(type) {
	case *protocol.AddToStoreRequest:
		name, method, algo, references.Others = req.Name, req.Method, req.Algorithm, req.References
	case *protocol.AddToStoreScanningRequest:
		name, method, algo = req.Name, req.Method, req.Algorithm
	}
	ca, err := storepath.NewContentAddress(method, nixhash.Sum(algo, contents))
	if err != nil {
		return reply
	}
	path, err := storepath.DefaultDir.FixedOutputPath(name, ca, references)
	if err != nil {
		return reply
	}
	added.Info.Path = path
	if _, scanning := req.(*protocol.AddToStoreScanningRequest); scanning {
		added.Info.References = nil
	}
	if method == storepath.NAR && algo == nixhash.SHA256 {
		added.Info.NARHash = ca.Hash()
	}
	return added
}

// readFile returns the contents of the file in an archive.
func readFile(archive []byte) ([]byte, error) {
	r := nar.NewReader(bytes.NewReader(archive))
	if _, err := r.Next(); err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// readBody reads the body of a request, and writes it to dst.
func (p *peer) readBody(form protocol.Body, dst io.Writer) error {
	switch form {
	case protocol.FramedBody:
		_, err := io.Copy(dst, wire.NewFrameReader(p.in))
		return err
	case protocol.NARBody:
		_, err := nar.Copy(dst, p.in)
		return err
	case protocol.AskedBody:
		_, err := nar.Copy(dst, wire.NewReader(&asker{p: p}, 0))
		return err
	case protocol.NoBody:
	}
	return nil
}

// An asker is a body that the daemon asks for, a few bytes at a time.
type asker struct {
	p    *peer
	rest []byte
}

func (a *asker) Read(b []byte) (int, error) {
	if len(a.rest) == 0 {
		const most = 40
		a.p.say(protocol.Message{Kind: protocol.MessageRead, Want: most})
		part, err := a.p.in.Bytes(most)
		if err == nil && len(part) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		a.rest = bytes.Clone(part)
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// A fakeOp is an operation with its expected reply.
type fakeOp struct {
	name    string
	version uint8 // the minor version of the daemon; 0 means the newest
	call    func(ctx context.Context, c *daemon.Conn) error
}

// errWrong means that a call got a wrong reply.
var errWrong = errors.New("wrong answer")

// expect returns an error unless got equals want.
func expect[T any](got T, err error, want T) error {
	if err == nil && !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%w: %+v, want %+v", errWrong, got, want)
	}
	return err
}

func at(v uint8, name string, call func(context.Context, *daemon.Conn) error) fakeOp {
	return fakeOp{name, v, call}
}

// fakeOps returns all operations. The first ten represent the different kinds.
func fakeOps() []fakeOp {
	type C = *daemon.Conn
	type X = context.Context
	drv := newDerivation("absent", "true")
	drv.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	return []fakeOp{
		at(0, "IsValidPath", func(x X, c C) error { r, err := c.IsValidPath(x, helloPath); return expect(r, err, true) }),
		at(0, "QueryPathInfo", func(x X, c C) error { r, err := c.QueryPathInfo(x, helloPath); return expect(r, err, &fakeInfo) }),
		at(0, "QueryPathInfos", func(x X, c C) error {
			return readInfos(c.QueryPathInfos(x, []storepath.Path{helloPath, helloPath, helloPath}), 3)
		}),
		at(0, "AddTextToStore", func(x X, c C) error {
			r, err := c.AddTextToStore(x, "hello.txt", "hello world", nil)
			return expect(r, err, helloPath)
		}),
		at(0, "AddMultipleToStore", func(x X, c C) error {
			return c.AddMultipleToStore(x, 2, fakeObjects(2), nil)
		}),
		at(22, "AddToStoreNar, asked", func(x X, c C) error { return addFakeNAR(x, c) }),
		at(20, "AddToStoreNar, plain", func(x X, c C) error { return addFakeNAR(x, c) }),
		at(0, "NarFromPath", func(x X, c C) error { return readFakeNAR(x, c) }),
		at(0, "BuildPathsWithResults", func(x X, c C) error {
			r, err := c.BuildPathsWithResults(x, fakeBuilt, store.BuildNormal)
			if err == nil && (len(r) != 1 || r[0].Status != store.Built || r[0].Outputs["out"].OutPath != helloPath) {
				return errWrong
			}
			return err
		}),
		at(0, "CollectGarbage", func(x X, c C) error {
			r, err := c.CollectGarbage(x, store.GCOptions{Action: store.GCReturnDead})
			return expect(r, err, &store.GCResult{Paths: []string{string(helloPath)}, BytesFreed: 7})
		}),

		at(0, "QueryClosure", func(x X, c C) error { return readInfos(c.QueryClosure(x, helloPath), 1) }),
		at(0, "QueryValidPaths", func(x X, c C) error {
			r, err := c.QueryValidPaths(x, fakePaths, false)
			return expect(r, err, fakePaths)
		}),
		at(0, "QueryValidPaths, substitute", func(x X, c C) error {
			r, err := c.QueryValidPaths(x, fakePaths, true)
			return expect(r, err, fakePaths)
		}),
		at(0, "QueryAllValidPaths", func(x X, c C) error { r, err := c.QueryAllValidPaths(x); return expect(r, err, fakePaths) }),
		at(0, "QueryReferrers", func(x X, c C) error { r, err := c.QueryReferrers(x, helloPath); return expect(r, err, fakePaths) }),
		at(0, "QueryValidDerivers", func(x X, c C) error {
			r, err := c.QueryValidDerivers(x, helloPath)
			return expect(r, err, fakePaths)
		}),
		at(0, "QueryDeriver", func(x X, c C) error { r, err := c.QueryDeriver(x, helloPath); return expect(r, err, fakeDrv) }),
		at(0, "QueryPathFromHashPart", func(x X, c C) error {
			r, err := c.QueryPathFromHashPart(x, helloPath.HashPart())
			return expect(r, err, helloPath)
		}),
		at(0, "QueryDerivationOutputMap", func(x X, c C) error {
			r, err := c.QueryDerivationOutputMap(x, fakeDrv)
			return expect(r, err, map[string]storepath.Path{"out": helloPath})
		}),
		at(0, "QueryDerivationOutputs", func(x X, c C) error {
			r, err := c.QueryDerivationOutputs(x, fakeDrv)
			return expect(r, err, fakePaths)
		}),
		at(0, "QueryDerivationOutputNames", func(x X, c C) error {
			r, err := c.QueryDerivationOutputNames(x, fakeDrv)
			return expect(r, err, []string{"out"})
		}),
		at(0, "QuerySubstitutablePaths", func(x X, c C) error {
			r, err := c.QuerySubstitutablePaths(x, fakePaths)
			return expect(r, err, fakePaths)
		}),
		at(0, "QuerySubstitutablePathInfo", func(x X, c C) error {
			r, err := c.QuerySubstitutablePathInfo(x, helloPath)
			return expect(r, err, &store.SubstitutableInfo{Path: helloPath, NARSize: 7})
		}),
		at(0, "QuerySubstitutablePathInfos", func(x X, c C) error {
			r, err := c.QuerySubstitutablePathInfos(x, map[storepath.Path]storepath.ContentAddress{helloPath: {}})
			return expect(r, err, []store.SubstitutableInfo{{Path: helloPath}})
		}),
		at(0, "QueryMissing", func(x X, c C) error {
			r, err := c.QueryMissing(x, fakeBuilt)
			return expect(r, err, &store.Missing{WillBuild: []storepath.Path{fakeDrv}})
		}),
		at(0, "QueryRealisation", func(x X, c C) error {
			r, err := c.QueryRealisation(x, fakeOutput)
			return expect(r, err, &store.Realisation{OutPath: helloPath})
		}),
		at(0, "RegisterDrvOutput", func(x X, c C) error {
			return c.RegisterDrvOutput(x, store.KeyedRealisation{ID: fakeOutput, Realisation: store.Realisation{OutPath: helloPath}})
		}),
		at(0, "AddToStore", func(x X, c C) error {
			r, err := c.AddToStore(x, "hello.txt", storepath.Flat, nixhash.SHA256, nil, strings.NewReader("hello"), nil)
			want := fakeAdded(&protocol.AddToStoreRequest{Name: "hello.txt", Method: storepath.Flat, Algorithm: nixhash.SHA256}, []byte("hello"))
			return expect(r, err, &want.(*protocol.AddToStoreReply).Info)
		}),
		at(21, "AddToStore, old", func(x X, c C) error {
			if c.Version() >= protocol.MakeVersion(25) {
				return errWrong
			}
			_, err := c.AddToStore(x, "hello.txt", storepath.Flat, nixhash.SHA256, nil, strings.NewReader("hello"), nil)
			return err
		}),
		at(21, "AddTextToStore, old", func(x X, c C) error {
			r, err := c.AddTextToStore(x, "hello.txt", "hello world", nil)
			return expect(r, err, helloPath)
		}),
		at(21, "QueryDerivationOutputMap, old", func(x X, c C) error {
			_, err := c.QueryDerivationOutputNames(x, fakeDrv)
			return err
		}),
		at(0, "AddToStoreNar", func(x X, c C) error { return addFakeNAR(x, c) }),
		at(31, "AddMultipleToStore, old", func(x X, c C) error { return c.AddMultipleToStore(x, 2, fakeObjects(2), nil) }),
		at(0, "AddSignatures", func(x X, c C) error { return c.AddSignatures(x, helloPath, fakeInfo.Signatures) }),
		at(0, "AddBuildLog", func(x X, c C) error { return c.AddBuildLog(x, fakeDrv, strings.NewReader("some log")) }),
		at(34, "AddBuildLog, trust unknown", func(x X, c C) error { return c.AddBuildLog(x, fakeDrv, strings.NewReader("some log")) }),
		at(0, "BuildPaths", func(x X, c C) error { return c.BuildPaths(x, fakeBuilt, store.BuildNormal) }),
		at(33, "BuildPathsWithResults, old", func(x X, c C) error {
			r, err := c.BuildPathsWithResults(x, fakeBuilt, store.BuildNormal)
			if err == nil && (len(r) != 1 || r[0].Status != store.AlreadyValid) {
				return errWrong
			}
			return err
		}),
		at(0, "BuildDerivation", func(x X, c C) error {
			r, err := c.BuildDerivation(x, fakeDrv, drv, store.BuildNormal)
			if err == nil && r.Outputs["out"].OutPath != helloPath {
				return errWrong
			}
			return err
		}),
		at(0, "EnsurePath", func(x X, c C) error { return c.EnsurePath(x, helloPath) }),
		at(0, "AddTempRoot", func(x X, c C) error { return c.AddTempRoot(x, helloPath) }),
		at(0, "AddIndirectRoot", func(x X, c C) error { return c.AddIndirectRoot(x, "/link") }),
		at(0, "AddPermRoot", func(x X, c C) error { r, err := c.AddPermRoot(x, helloPath, "/link"); return expect(r, err, "/link") }),
		at(0, "FindRoots", func(x X, c C) error {
			r, err := c.FindRoots(x)
			return expect(r, err, []store.Root{{Link: "/link", Path: helloPath}})
		}),
		at(0, "SyncWithGC", func(x X, c C) error { return c.SyncWithGC(x) }),
		at(0, "OptimiseStore", func(x X, c C) error { return c.OptimiseStore(x) }),
		at(0, "VerifyStore", func(x X, c C) error { r, err := c.VerifyStore(x, true, false); return expect(r, err, false) }),
	}
}

func readInfos(infos iter.Seq2[*store.PathInfo, error], want int) error {
	n := 0
	for info, err := range infos {
		if err := expect(info, err, &fakeInfo); err != nil {
			return err
		}
		n++
	}
	return expect(n, nil, want)
}

func addFakeNAR(ctx context.Context, c *daemon.Conn) error {
	info, nar, err := object("x", "some contents")
	if err != nil {
		return err
	}
	return c.AddToStoreNAR(ctx, info, bytes.NewReader(nar), nil)
}

func readFakeNAR(ctx context.Context, c interface {
	NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error)
}) error {
	r, err := c.NARFromPath(ctx, helloPath)
	if err != nil {
		return err
	}
	defer r.Close()
	nar, err := io.ReadAll(r)
	return expect(nar, err, fakeNAR)
}

func fakeObjects(n int) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for i := range n {
			info, nar, err := object(fmt.Sprint("object-", i), "some contents")
			if !yield(store.Import{Info: info, NAR: bytes.NewReader(nar)}, err) {
				return
			}
		}
	}
}

// daemonVersion returns the version of a daemon for an operation.
func (op fakeOp) daemonVersion() protocol.Version {
	if op.version == 0 {
		return newest
	}
	return protocol.MakeVersion(op.version)
}
