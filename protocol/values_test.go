package protocol

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A path info in the stream of AddMultipleToStore has the same form in all versions.
func TestPathInfo(t *testing.T) {
	_, reply, _ := benchReply(t)
	info := *reply.Info
	info.Path = testPath
	var want []byte
	for _, p := range allParams() {
		b, err := p.AppendPathInfo(nil, &info)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = b
		}
		got, err := p.ReadPathInfo(reader(b))
		if err != nil || !reflect.DeepEqual(got, &info) || string(b) != string(want) {
			t.Fatalf("%s: %v, %v", p.Version, show(got), err)
		}
	}
	p := Params{Version: MaxVersion, Dir: testDir}
	if b, err := p.AppendPathInfo([]byte("x"), new(store.PathInfo)); err == nil || string(b) != "x" {
		t.Errorf("an empty path info: %v, %q", err, b)
	}
	if _, err := p.ReadPathInfo(reader(want[:len(want)-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a truncated path info: %v", err)
	}
}

// A decoder accepts NAR hashes in every encoding, and sets in any order and with duplicates.
func TestLenientReading(t *testing.T) {
	p := Params{Version: MaxVersion, Dir: testDir}
	hash := nixhash.Sum(nixhash.SHA256, nil)
	for _, spelling := range []string{hash.Base16(), strings.ToUpper(hash.Base16()), hash.Nix32(), hash.Base64(), hash.WithNix32(), hash.SRI()} {
		b := wire.AppendUint64(nil, 1)
		b = wire.AppendString(b, "")
		b = wire.AppendString(b, spelling)
		b = wire.AppendStrings(b, []storepath.Path{testPath + "b", testPath, testPath + "b"})
		b = append(b, words(0, 0, 2)...)
		b = wire.AppendStrings(b, []string{"b:", "a:", "b:"})
		b = wire.AppendString(b, "")
		var reply QueryPathInfoReply
		if err := p.ReadReply(reader(b), QueryPathInfo, &reply); err != nil {
			t.Errorf("%s: %v", spelling, err)
			continue
		}
		want := &store.PathInfo{NARHash: hash, Ultimate: true, References: []storepath.Path{testPath, testPath + "b"}, Signatures: []string{"a:", "b:"}}
		if !reflect.DeepEqual(reply.Info, want) {
			t.Errorf("%s: %s", spelling, show(reply.Info))
		}
	}
	for _, wrong := range []string{"", "x", nixhash.Sum(nixhash.SHA1, nil).WithBase16(), strings.Repeat("z", 64)} {
		b := wire.AppendString(wire.AppendString(words(1), ""), wrong)
		if err := p.ReadReply(reader(b), QueryPathInfo, new(QueryPathInfoReply)); err == nil || !strings.Contains(err.Error(), "NAR hash at offset 16") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// Invalid JSON is an error. A truncated JSON text is not reported as a truncated stream.
func TestInvalidRealisations(t *testing.T) {
	p := Params{Version: MaxVersion, Dir: testDir}
	id := store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}.HashID()
	whole := `{"id":"` + id + `","outPath":"` + testPath.Base() + `"}`
	for text, ok := range map[string]bool{
		whole: true,
		strings.Replace(whole, "}", `,"signatures":[{"keyName":"a","sig":"b"},"c:d"]}`, 1): true,
		strings.Replace(whole, "}", `,"signatures":[1]}`, 1):                               false,
		strings.Replace(whole, "}", `,"signatures":"a"}`, 1):                               false,
		strings.Replace(whole, "!", "", 1):                                                 false,
		strings.Replace(whole, "sha256:", "sha257:", 1):                                    false,
		strings.Replace(whole, "outPath", "path", 1):                                       false,
		strings.Replace(whole, "outPath", "OutPath", 1):                                    false,
		strings.Replace(whole, "}", `,"outPath":"`+testPath.Base()+`"}`, 1):                false,
		strings.Replace(whole, "out", "\xff", 1):                                           false,
		whole[:20]:                                                                         false, "": false, "[]": false,
	} {
		var reply QueryRealisationReply
		err := p.ReadReply(reader(wire.AppendString(words(1), text)), QueryRealisation, &reply)
		if (err == nil) != ok || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for name, outputs := range map[string]map[string]store.Realisation{
		"name":    {"\xff": {OutPath: testPath}},
		"no path": {"out": {}},
		"foreign": {"out": {OutPath: "/other" + testPath}},
	} {
		reply := &BuildDerivationReply{store.BuildResult{Outputs: outputs}}
		if b, err := p.AppendReply(nil, BuildDerivation, reply); err == nil || len(b) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Built outputs in JSON must have exactly the expected names.
func TestBuiltOutputNames(t *testing.T) {
	p := Params{Version: MaxVersion, Dir: testDir}
	good, err := p.AppendReply(nil, BuildDerivation, &BuildDerivationReply{store.BuildResult{Outputs: map[string]store.Realisation{"out": {OutPath: testPath}}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{`"outPath"`: true, `"OutPath"`: false, `"outpath"`: false} {
		var reply BuildDerivationReply
		err := p.ReadReply(reader([]byte(strings.Replace(string(good), `"outPath"`, name, 1))), BuildDerivation, &reply)
		if (err == nil) != ok {
			t.Errorf("%s: %+v, %v", name, reply, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{NoBody.String(), "no body"}, {FramedBody.String(), "frames"}, {NARBody.String(), "an archive"},
		{AskedBody.String(), "strings when asked"}, {Body(9).String(), "Body(9)"},
		{Everybody.String(), "everybody"}, {TrustedInPart.String(), "trusted in part"}, {TrustedOnly.String(), "trusted only"}, {Access(9).String(), "Access(9)"},
		{Trusted.String(), "trusted"}, {NotTrusted.String(), "not trusted"}, {TrustUnknown.String(), "unknown"},
		{MessageKind(1).String(), "MessageKind(0x1)"}, {Op(2).String(), "Op(2)"},
		{AllFeatures.String(), "addTempRoots delete-dead-specific-referrers queryActiveBuilds queryPathInfos realisation-with-path-not-hash"},
		{BuildFeatures.String(), "add-to-store-scanning disable-set-options submit-output"},
		{MakeVersion(38).String(), "1.38"},
		{store.GCReturnLive.String() + store.GCReturnDead.String() + store.GCDeleteDead.String() + store.GCDeleteSpecific.String() + store.GCAction(4).String(), "return-livereturn-deaddelete-deaddelete-specificGCAction(4)"},
	} {
		if c.got != c.want {
			t.Errorf("%q instead of %q", c.got, c.want)
		}
	}
	if featuresOf([]string{"unheard-of", "submit-output"}) != OutputSubmission {
		t.Error("featuresOf misreads names")
	}
}

// The error about another program, or an unsupported version, shows the received bytes.
func TestMismatch(t *testing.T) {
	hello := func(version uint64) string { return string(words(daemonMagic, version)) }
	for received, want := range map[string]string{
		"Welcome to example.org\n": `received "Welcome to example.org"`,
		"\x00\x01":                 "received 0001",
		hello(1<<8 | 17):           "protocol 1.17",
		hello(2<<8 | 1):            "protocol 2.1",
		hello(1 << 20):             "protocol",
	} {
		_, _, err := ClientHandshake(wire.NewReader(strings.NewReader(received), 0), io.Discard, testDir)
		var e *MismatchError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", received, err)
		}
	}
	for _, b := range [][]byte{words(7), words(clientMagic, 1<<8|17), words(clientMagic, 2<<8)} {
		_, err := ServerHandshake(reader(b), io.Discard, testDir, Greeting{DaemonVersion: MaxVersion}, 0)
		var e *MismatchError
		if !errors.As(err, &e) {
			t.Errorf("%x: %v", b, err)
		}
	}
	// An old client sends a CPU affinity.
	b := words(clientMagic, 1<<8|21, 1, 3, 0)
	in := reader(b)
	if p, err := ServerHandshake(in, io.Discard, testDir, Greeting{DaemonVersion: MaxVersion}, 0); err != nil || p.Version != MakeVersion(21) || in.Peek() != io.EOF {
		t.Errorf("%v, %v", p, err)
	}
}

// Built outputs are identified by the hash of their derivation, which build-remote registers,
// or by the dummy hash.
func TestBuiltOutputIDs(t *testing.T) {
	const hash, dummy = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	const base = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a"
	full := func(id string) string {
		return `{"dependentRealisations":{},"id":"` + id + `","outPath":"` + base + `","signatures":["k-1:eA=="]}`
	}
	read := func(outputs ...string) (r store.BuildResult, err error) {
		b := wire.AppendUint64(nil, 0)
		b = wire.AppendString(b, "")
		b = wire.AppendUint64(b, uint64(len(outputs)/2))
		for _, s := range outputs {
			b = wire.AppendString(b, s)
		}
		c := Params{Version: MakeVersion(28), Dir: storepath.DefaultDir}.decoder(reader(b), 0, "test")
		c.buildResult(&r)
		return r, c.err
	}
	for _, c := range []struct{ id, text, hash string }{
		{hash + "!out", full(hash + "!out"), hash},
		{dummy + "!out", `{"id":"` + dummy + `!out","outPath":"` + base + `"}`, ""},
	} {
		r, err := read(c.id, c.text)
		if err != nil {
			t.Fatal(err)
		}
		if r.Outputs["out"].OutPath != "/nix/store/"+base || c.hash == "" != r.DrvHash.IsZero() || c.hash != "" && r.DrvHash.WithBase16() != c.hash {
			t.Errorf("%s: %+v", c.id, r)
		}
		w, form := Params{Version: MakeVersion(28), Dir: storepath.DefaultDir}.encoder(nil, 0, "test")
		w.jsonOutputs(&r)
		want := wire.AppendString(wire.AppendString(wire.AppendUint64(nil, 1), c.id), c.text)
		if w.err != nil || !bytes.Equal(form.out, want) {
			t.Errorf("%s: %q, %v", c.id, form.out, w.err)
		}
	}
	for name, outputs := range map[string][]string{
		"no hash":          {"out", full(hash + "!out")},
		"bad hash":         {"sha256:00!out", full("sha256:00!out")},
		"another output":   {hash + "!out", full(hash + "!dev")},
		"two derivations":  {hash + "!out", full(hash + "!out"), strings.Replace(hash, "b", "c", 1) + "!dev", full(strings.Replace(hash, "b", "c", 1) + "!dev")},
		"no path":          {hash + "!out", `{"id":"` + hash + `!out"}`},
		"not a store path": {hash + "!out", strings.Replace(full(hash+"!out"), base, "../x", 1)},
	} {
		if r, err := read(outputs...); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
