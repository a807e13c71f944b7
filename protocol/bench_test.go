package protocol

import (
	"bytes"
	"testing"
	"time"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// benchReply returns a typical path info of nixpkgs: ten references, one signature.
func benchReply(b testing.TB) (Params, *QueryPathInfoReply, []byte) {
	p := Params{Version: MaxVersion, Dir: testDir}
	info := &store.PathInfo{
		Deriver: testPath + ".drv", NARHash: nixhash.Sum(nixhash.SHA256, nil), NARSize: 12345,
		RegistrationTime: time.Unix(1e9, 0).UTC(),
		Signatures:       []string{"cache.nixos.org-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="},
	}
	for i := range 10 {
		info.References = append(info.References, testPath+storepath.Path('a'+byte(i)))
	}
	reply := &QueryPathInfoReply{Info: info}
	bin, err := p.AppendReply(nil, QueryPathInfo, reply)
	if err != nil {
		b.Fatal(err)
	}
	return p, reply, bin
}

func BenchmarkReadPathInfo(b *testing.B) {
	p, _, bin := benchReply(b)
	src := bytes.NewReader(bin)
	in := wire.NewReader(src, 64<<10)
	b.SetBytes(int64(len(bin)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(bin)
		in.Reset(src)
		if err := p.ReadReply(in, QueryPathInfo, NewReply(QueryPathInfo)); err != nil { // a Reply behind the interface, as in a client
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPathInfo(b *testing.B) {
	p, reply, bin := benchReply(b)
	b.SetBytes(int64(len(bin)))
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = p.AppendReply(buf[:0], QueryPathInfo, reply); err != nil {
			b.Fatal(err)
		}
	}
}

// ReadReply allocates each string, and little else.
func TestReadAllocations(t *testing.T) {
	p, reply, bin := benchReply(t)
	strings := 1 + len(reply.Info.References) + len(reply.Info.Signatures)
	src := bytes.NewReader(bin)
	in := wire.NewReader(src, 64<<10)
	got := testing.AllocsPerRun(100, func() {
		src.Reset(bin)
		in.Reset(src)
		if err := p.ReadReply(in, QueryPathInfo, new(QueryPathInfoReply)); err != nil {
			t.Fatal(err)
		}
	})
	if most := float64(strings + 6); got > most { // the reply, the info, two lists, the codec
		t.Errorf("ReadReply allocates %v times for %d strings", got, strings)
	}
}
