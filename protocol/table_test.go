package protocol

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// The table has the operations of Nix, ordered by number.
func TestTable(t *testing.T) {
	var want []Op
	for _, r := range [][2]Op{{1, 1}, {6, 14}, {18, 23}, {26, 26}, {28, 50}, {1000, 1001}} {
		for op := r[0]; op <= r[1]; op++ {
			want = append(want, op)
		}
	}
	rows := Operations()
	if len(rows) != len(want) {
		t.Fatalf("%d rows instead of %d", len(rows), len(want))
	}
	for i, row := range rows {
		if row.Op != want[i] || row.Op.String() != row.Name || row.Since < MinVersion || row.Since > MaxVersion {
			t.Errorf("row %d is %+v", i, row)
		}
		if req := row.request(); req.Op() != row.Op {
			t.Errorf("the request of %s has the operation %s", row.Name, req.Op())
		}
		if (row.Access == Everybody) == needsTrustEver(row) {
			t.Errorf("%s has access %s", row.Name, row.Access)
		}
	}
	for _, op := range []Op{0, 2, 51, 999, 1002} {
		if _, ok := Lookup(op); ok || NewReply(op) != nil || !strings.HasPrefix(op.String(), "Op(") {
			t.Errorf("%s is in the table", op)
		}
	}
}

// needsTrustEver reports whether any request of the operation needs trust.
func needsTrustEver(row Operation) bool {
	for _, p := range allParams() {
		for seed := range uint64(16) {
			req := row.request()
			newFiller(seed).fill(req)
			if p.NeedsTrust(req) {
				return true
			}
		}
	}
	return false
}

func TestIsQuery(t *testing.T) {
	for _, row := range Operations() {
		if got := IsQuery(row.request()); got != row.Query || got && (row.Body(Params{Version: MaxVersion}) != NoBody || row.Access != Everybody) {
			t.Errorf("IsQuery(%s) = %v", row.Name, got)
		}
	}
	if IsQuery(&QueryValidPathsRequest{Substitute: true}) {
		t.Error("a QueryValidPaths request that substitutes is a query")
	}
}

func TestNeedsTrust(t *testing.T) {
	drv := func(o derivation.Output) *derivation.Derivation {
		return &derivation.Derivation{Outputs: derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: o})}
	}
	floating, deferred := drv(derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)), drv(derivation.DeferredOutput())
	for _, c := range []struct {
		req  Request
		v    uint8
		want bool
	}{
		{&BuildPathsRequest{}, 38, false},
		{&BuildPathsRequest{Mode: store.BuildRepair}, 38, true},
		{&BuildPathsWithResultsRequest{Mode: store.BuildCheck}, 38, false},
		{&BuildPathsWithResultsRequest{Mode: store.BuildRepair}, 38, true},
		{&VerifyStoreRequest{CheckContents: true}, 38, false},
		{&VerifyStoreRequest{Repair: true}, 38, true},
		{&BuildDerivationRequest{Derivation: floating}, 21, true},
		{&BuildDerivationRequest{Derivation: floating}, 34, false},
		{&BuildDerivationRequest{Derivation: deferred}, 34, true},
		{&BuildDerivationRequest{}, 38, true},
		{&AddSignaturesRequest{}, 34, true},
		{&AddSignaturesRequest{}, 38, false},
		{&AddBuildLogRequest{}, 34, true},
		{&AddPermRootRequest{}, 38, true},
		{&CollectGarbageRequest{}, 38, false},
	} {
		if got := (Params{Version: MakeVersion(c.v)}).NeedsTrust(c.req); got != c.want {
			t.Errorf("NeedsTrust(%s) at 1.%d = %v", show(c.req), c.v, got)
		}
	}
	err := error(&TrustError{BuildPaths})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "BuildPaths") {
		t.Error(err)
	}
}

// A request that the other side does not support is an UnsupportedError with the required
// version or feature. Nothing is appended.
func TestGates(t *testing.T) {
	drvFile := derivation.Opaque{Path: testPath + ".drv"}
	nested := derivation.Built{Drv: derivation.SingleBuilt{Drv: drvFile, Output: "out"}, Outputs: derivation.AllOutputs()}
	ca := newFiller(1).ca()
	paths := []storepath.Path{testPath}
	flat := AddToStoreRequest{Name: "a", Method: storepath.Flat, Algorithm: nixhash.SHA256}
	withRefs, repair, text := flat, flat, flat
	withRefs.References, repair.Repair, text.Method = paths, true, storepath.Text
	for _, c := range []struct {
		req     Request
		since   uint8
		feature Features
	}{
		{&QueryMissingRequest{}, 19, 0},
		{&QueryDerivationOutputMapRequest{Path: testPath}, 22, 0},
		{&QuerySubstitutablePathInfosRequest{Paths: map[storepath.Path]storepath.ContentAddress{testPath: ca}}, 22, 0},
		{&withRefs, 25, 0}, {&repair, 25, 0}, {&text, 25, 0},
		{&QueryValidPathsRequest{Substitute: true}, 27, 0},
		{&BuildPathsRequest{Paths: []derivation.DerivedPath{drvFile}}, 30, 0},
		{&BuildPathsRequest{Paths: []derivation.DerivedPath{nested}}, 30, 0},
		{&QueryRealisationRequest{ID: store.DrvOutput{Hash: newFiller(1).hash(), Output: "out"}}, 31, 0},
		{&RegisterDrvOutputRequest{store.KeyedRealisation{ID: store.DrvOutput{Hash: newFiller(1).hash()}, Realisation: store.Realisation{OutPath: testPath}}}, 31, 0},
		{&AddMultipleToStoreRequest{}, 32, 0},
		{&AddBuildLogRequest{testPath}, 33, 0},
		{&BuildPathsWithResultsRequest{}, 34, 0},
		{&AddPermRootRequest{testPath, "/link"}, 36, 0},
		{&SubmitOutputRequest{drvFile, "out"}, 0, OutputSubmission},
		{&AddToStoreScanningRequest{"a", storepath.NAR, nixhash.SHA256}, 0, Scanning},
		{&CollectGarbageRequest{store.GCOptions{Action: store.GCReturnDead, Paths: paths}}, 0, DeleteDeadSpecificReferrers},
		{&CollectGarbageRequest{store.GCOptions{Action: store.GCDeleteSpecific, Paths: paths, DeleteReferrers: true}}, 0, DeleteDeadSpecificReferrers},
	} {
		for _, p := range []Params{{Version: MakeVersion(max(c.since, 19) - 1), Dir: testDir}, {Version: MakeVersion(max(c.since, 38)), Features: c.feature, Dir: testDir}} {
			if p.Version == MaxVersion && c.feature == 0 {
				p.Version = MakeVersion(c.since)
			}
			b, err := p.AppendRequest(nil, c.req)
			if p.Version >= MakeVersion(c.since) && p.Features.Has(c.feature) && (c.feature == 0 || p.Version == MaxVersion) {
				if err != nil {
					t.Errorf("%s at %s %s: %v", show(c.req), p.Version, p.Features, err)
				}
				continue
			}
			var e *UnsupportedError
			if !errors.As(err, &e) || !errors.Is(err, errors.ErrUnsupported) || e.Have != p.Version || len(b) != 0 {
				t.Errorf("%s at %s: %v, %d bytes", show(c.req), p.Version, err, len(b))
			} else if c.feature == 0 && e.Since != MakeVersion(c.since) {
				t.Errorf("%s: %v", show(c.req), err)
			}
		}
	}
	for _, f := range []Features{OutputSubmission, Scanning, DeleteDeadSpecificReferrers} {
		err := &UnsupportedError{What: "x", Have: MaxVersion, Feature: f}
		if !strings.Contains(err.Error(), f.String()) {
			t.Error(err)
		}
	}
	inBuild := Params{Version: MaxVersion, Features: NoSetOptions}
	if b, err := inBuild.AppendRequest(nil, &SetOptionsRequest{}); !errors.Is(err, errors.ErrUnsupported) || len(b) != 0 {
		t.Errorf("SetOptions during a build: %v", err)
	}
	if _, err := (Params{Version: MakeVersion(19)}).AppendMessage(nil, Message{Kind: MessageStop, Event: activity.Stop{}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an activity at 1.19: %v", err)
	}
}

func TestBody(t *testing.T) {
	for _, c := range []struct {
		op   Op
		v    uint8
		want Body
	}{
		{AddToStore, 24, NARBody}, {AddToStore, 25, FramedBody},
		{AddToStoreNar, 20, NARBody}, {AddToStoreNar, 21, AskedBody}, {AddToStoreNar, 22, AskedBody}, {AddToStoreNar, 23, FramedBody},
		{AddMultipleToStore, 38, FramedBody}, {AddBuildLog, 38, FramedBody}, {AddToStoreScanning, 38, FramedBody},
		{AddTextToStore, 21, NoBody}, {QueryPathInfo, 38, NoBody},
	} {
		row, _ := Lookup(c.op)
		if got := row.Body(Params{Version: MakeVersion(c.v)}); got != c.want {
			t.Errorf("%s follow %s at 1.%d, not %s", got, c.op, c.v, c.want)
		}
		if row.Archive {
			t.Errorf("an archive follows the reply of %s", c.op)
		}
	}
	if row, _ := Lookup(NarFromPath); !row.Archive {
		t.Error("no archive follows the reply of NarFromPath")
	}
}

// An invalid value is neither encoded nor decoded. Lists, strings and numbers have limits.
func TestInvalidRequests(t *testing.T) {
	p := Params{Version: MaxVersion, Features: DeleteDeadSpecificReferrers | OutputSubmission | Scanning, Dir: testDir}
	foreign := storepath.Path("/other/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo")
	drv := testPath + ".drv"
	built := func(d derivation.SingleDerivedPath, o derivation.OutputsSpec) Request {
		return &BuildPathsRequest{Paths: []derivation.DerivedPath{derivation.Built{Drv: d, Outputs: o}}}
	}
	withInput := &derivation.Derivation{InputDerivations: derivation.MapOf(derivation.Entry[storepath.Path, derivation.InputOutputs]{Key: drv})}
	for name, req := range map[string]Request{
		"foreign path":       &IsValidPathRequest{foreign},
		"no path":            &QueryPathInfoRequest{},
		"path below":         &QueryPathInfoRequest{testPath + "/bin"},
		"foreign in a list":  &QueryValidPathsRequest{Paths: []storepath.Path{testPath, foreign}},
		"foreign base":       &AddBuildLogRequest{foreign},
		"nil derived path":   &BuildPathsRequest{Paths: []derivation.DerivedPath{nil}},
		"nil derivation":     built(nil, derivation.AllOutputs()),
		"no outputs":         built(derivation.Opaque{Path: drv}, derivation.OutputsSpec{}),
		"bad output":         built(derivation.Opaque{Path: drv}, derivation.NamedOutputs("a!b")),
		"foreign derivation": built(derivation.Opaque{Path: foreign}, derivation.AllOutputs()),
		"build mode":         &BuildPathsRequest{Mode: 3},
		"gc action":          &CollectGarbageRequest{store.GCOptions{Action: 4}},
		"gc referrers":       &CollectGarbageRequest{store.GCOptions{DeleteReferrers: true}},
		"no method":          &AddToStoreRequest{Name: "a"},
		"no NAR hash":        &AddToStoreNarRequest{Info: store.PathInfo{Path: testPath}},
		"NAR hash":           &AddToStoreNarRequest{Info: store.PathInfo{Path: testPath, NARHash: nixhash.Sum(nixhash.SHA512, nil)}},
		"no derivation":      &BuildDerivationRequest{Path: drv},
		"not a derivation":   &BuildDerivationRequest{Path: testPath, Derivation: new(derivation.Derivation)},
		"input derivations":  &BuildDerivationRequest{Path: drv, Derivation: withInput},
		"no hash of drv":     &QueryRealisationRequest{ID: store.DrvOutput{Path: drv, Output: "out"}},
		"nil output":         &SubmitOutputRequest{nil, "out"},
		"long name":          &AddTextToStoreRequest{Name: strings.Repeat("a", MaxPath+1)},
	} {
		b, err := p.AppendRequest(nil, req)
		var e *Error
		if !errors.As(err, &e) || e.Offset != -1 || len(b) > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
}

func words(n ...uint64) (b []byte) {
	for _, n := range n {
		b = wire.AppendUint64(b, n)
	}
	return b
}

// An error about a received value has its offset.
func TestInvalidReceived(t *testing.T) {
	p := Params{Version: MaxVersion, Dir: testDir}
	const huge = 1 << 60
	foreign := wire.AppendString(nil, "/other/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo")
	for _, c := range []struct {
		name string
		op   Op
		b    []byte
		want string
	}{
		{"truncated", IsValidPath, words(), "valid at offset 0"},
		{"huge list", QueryValidPaths, words(huge), "limit of 67108864"},
		{"list that ends", QueryValidPaths, words(1000000), "paths"},
		{"foreign path", QueryValidPaths, append(words(1), foreign...), "store directory /nix/store"},
		{"huge string", QueryDerivationOutputNames, words(1, huge), "limit of 65536"},
		{"padding", AddPermRoot, append(words(1), 'a', 1, 0, 0, 0, 0, 0, 0), "padding"},
		{"status", BuildDerivation, words(15), "limit of 14"},
		{"tag", BuildDerivation, append(words(0, 0, 1, 0, 0, 0), words(2)...), "limit of 1"},
		{"time", BuildDerivation, words(0, 0, 1, 0, huge<<4-1), "start time"},
		{"two realisations", QueryRealisation, append(words(2), append(realisationBytes(t), realisationBytes(t)...)...), "at most one"},
		{"JSON", QueryRealisation, append(words(1), wire.AppendString(nil, "{")...), "JSON"},
		{"output id", BuildDerivation, append(words(0, 0, 1, 0, 0, 0, 0, 0, 1), wire.AppendString(wire.AppendString(nil, "x"), "{}")...), "no '!'"},
	} {
		err := p.ReadReply(reader(c.b), c.op, NewReply(c.op))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.op.String()+" reply") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := p.ReadRequest(reader(words(uint64(BuildDerivation)))); err == nil {
		t.Error("a truncated request was read")
	}
	deep := words(uint64(SubmitOutput))
	for range maxOutputs + 1 {
		deep = append(deep, words(1)...)
	}
	in := Params{Version: MaxVersion, Features: OutputSubmission, Dir: testDir}
	if _, err := in.ReadRequest(reader(deep)); err == nil || !strings.Contains(err.Error(), "more than 1000") {
		t.Errorf("too many outputs: %v", err)
	}
}

func realisationBytes(t *testing.T) []byte {
	c, form := Params{Version: MaxVersion, Dir: testDir}.encoder(nil, 0, "realisation")
	c.keyedRealisation("realisation", &store.KeyedRealisation{
		ID:          store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"},
		Realisation: store.Realisation{OutPath: testPath},
	})
	if c.err != nil {
		t.Fatal(c.err)
	}
	return form.out
}

func TestInvalidMessages(t *testing.T) {
	p := Params{Version: MaxVersion}
	for name, b := range map[string][]byte{
		"unknown":    words(0x1234),
		"truncated":  words(uint64(MessageLog)),
		"fields":     append(words(uint64(MessageEvent), 1, 101), words(maxFields+1)...),
		"field kind": words(uint64(MessageEvent), 1, 101, 1, 2),
		"type":       append(words(uint64(MessageError)), wire.AppendString(nil, "Panic")...),
		"position":   append(append(words(uint64(MessageError)), wire.AppendString(nil, "Error")...), append(words(0), append(wire.AppendString(wire.AppendString(nil, "Error"), "x"), words(1)...)...)...),
	} {
		var e *Error
		if _, err := p.ReadMessage(reader(b)); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, m := range map[string]Message{
		"unknown":     {Kind: 7},
		"no event":    {Kind: MessageLog},
		"other event": {Kind: MessageStart, Event: activity.Stop{}},
		"no error":    {Kind: MessageError},
		"fields":      {Kind: MessageEvent, Event: activity.Result{Fields: make([]activity.Field, maxFields+1)}},
	} {
		var e *Error
		if b, err := p.AppendMessage(nil, m); !errors.As(err, &e) || len(b) > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
}
