package protocol

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime"
	"testing"

	"pix/wire"
)

// fuzzParams returns one of all combinations of version and features.
func fuzzParams(n uint8) Params {
	all := allParams()
	return all[int(n)%len(all)]
}

// seedParams returns the indexes of the Params for the seeds: 1.21, 1.38, and 1.38 with all
// features.
func seedParams() (indexes []uint8) {
	all := allParams()
	for i, p := range all {
		if p.Version == MakeVersion(21) || p.Version == MaxVersion && (p.Features == 0 || p.Features == AllFeatures || p.Features == AllFeatures|BuildFeatures) {
			indexes = append(indexes, uint8(i))
		}
	}
	return indexes
}

// checkMemory fails if a decoder allocated much more than it received. A received number must
// not determine the size of an allocation.
func checkMemory(t *testing.T, received int, before *runtime.MemStats) {
	t.Helper()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+200*received); got > most {
		t.Errorf("decoding %d bytes allocated %d", received, got)
	}
}

func FuzzRequest(f *testing.F) {
	for _, n := range seedParams() {
		for _, row := range Operations() {
			for seed := range uint64(2) {
				req := row.request()
				newFiller(seed).fill(req)
				if b, err := fuzzParams(n).AppendRequest(nil, req); err == nil {
					f.Add(n, b)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		p := fuzzParams(n)
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		req, err := p.ReadRequest(reader(b))
		checkMemory(t, len(b), &before)
		if err != nil {
			checkError(t, err, len(b))
			return
		}
		p.NeedsTrust(req)
		if p.TraceRequest(req, 16) != p.TraceRequest(req, 16) {
			t.Error("two traces of one value differ")
		}
		line := p.TraceRequest(req, -1)
		traced, err := p.ParseTraceRequest(line)
		sameTrace(t, line, traced, req, func() string { return p.TraceRequest(traced, -1) }, err)
		again, err := p.AppendRequest(nil, req)
		if err != nil {
			t.Fatalf("%s was read but cannot be sent: %v", req.Op(), err)
		}
		got, err := p.ReadRequest(reader(again))
		if err != nil || !reflect.DeepEqual(got, req) {
			t.Fatalf("read again\n%s\ninstead of\n%s: %v", show(got), show(req), err)
		}
	})
}

// checkError fails unless err has one of the documented types.
func checkError(t *testing.T, err error, received int) {
	t.Helper()
	var e *Error
	var unsupported *UnsupportedError
	switch {
	case errors.As(err, &e):
		if e.Offset > int64(received) {
			t.Errorf("received %d bytes, but the error is at offset %d: %v", received, e.Offset, err)
		}
	case err == io.EOF, errors.As(err, &unsupported):
	default:
		t.Errorf("%T: %v", err, err)
	}
}

func FuzzReply(f *testing.F) {
	for _, n := range seedParams() {
		for _, row := range Operations() {
			for seed := range uint64(2) {
				reply := row.reply()
				newFiller(seed).fill(reply)
				if b, err := fuzzParams(n).AppendReply(nil, row.Op, reply); err == nil {
					f.Add(n, uint16(row.Op), b)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, op uint16, b []byte) {
		p := fuzzParams(n)
		reply := NewReply(Op(op))
		if reply == nil {
			return
		}
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		err := p.ReadReply(reader(b), Op(op), reply)
		checkMemory(t, len(b), &before)
		if err != nil {
			checkError(t, err, len(b))
			return
		}
		p.TraceReply(Op(op), reply, 16)
		if p.Check(Op(op)) == nil {
			line := p.TraceReply(Op(op), reply, -1)
			_, traced, err := p.ParseTraceReply(line)
			sameTrace(t, line, traced, reply, func() string { return p.TraceReply(Op(op), traced, -1) }, err)
		}
		again, err := p.AppendReply(nil, Op(op), reply)
		if err != nil {
			t.Fatalf("%s was read but cannot be sent: %v", Op(op), err)
		}
		got := NewReply(Op(op))
		if err := p.ReadReply(reader(again), Op(op), got); err != nil || !reflect.DeepEqual(got, reply) {
			t.Fatalf("read again\n%s\ninstead of\n%s: %v", show(got), show(reply), err)
		}
	})
}

func FuzzMessage(f *testing.F) {
	for _, n := range seedParams() {
		for seed := range uint64(16) {
			var m Message
			newFiller(seed).fill(&m)
			if b, err := fuzzParams(n).AppendMessage(nil, m); err == nil {
				f.Add(n, b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		p := fuzzParams(n)
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := p.ReadMessage(reader(b))
		checkMemory(t, len(b), &before)
		if err != nil {
			checkError(t, err, len(b))
			return
		}
		p.TraceMessage(m, 16)
		again, err := p.AppendMessage(nil, m)
		if errors.Is(err, errors.ErrUnsupported) && p.Version < activityVersion {
			return
		}
		if err != nil {
			t.Fatalf("%s was read but cannot be sent: %v", m.Kind, err)
		}
		line := p.TraceMessage(m, -1)
		traced, err := p.ParseTraceMessage(line)
		sameTrace(t, line, traced, m, func() string { return p.TraceMessage(traced, -1) }, err)
		got, err := p.ReadMessage(reader(again))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("read again\n%s\ninstead of\n%s: %v", show(got), show(m), err)
		}
	})
}

func FuzzHandshake(f *testing.F) {
	hello := func(magic uint64, version Version, rest ...byte) []byte {
		return append(wire.AppendUint64(wire.AppendUint64(nil, magic), uint64(version)), rest...)
	}
	f.Add(hello(daemonMagic, MakeVersion(21)))
	f.Add(hello(daemonMagic, MakeVersion(34), wire.AppendString(nil, "2.8.0")...))
	f.Add(hello(daemonMagic, MaxVersion, wire.AppendUint64(wire.AppendString(wire.AppendStrings(nil, AllFeatures.Names()), "2.34.8"), 1)...))
	f.Add(hello(clientMagic, MakeVersion(21), make([]byte, 16)...))
	f.Add(hello(clientMagic, MaxVersion, append(wire.AppendStrings(nil, AllFeatures.Names()), make([]byte, 16)...)...))
	f.Add([]byte("Welcome to example.org\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		p, g, err := ClientHandshake(reader(b), io.Discard, testDir)
		checkHandshake(t, p, err, len(b))
		if err == nil && g.DaemonVersion < p.Version {
			t.Errorf("negotiated %s with a daemon of %s", p.Version, g.DaemonVersion)
		}
		p, err = ServerHandshake(reader(b), new(bytes.Buffer), testDir, Greeting{DaemonVersion: MaxVersion, NixVersion: "2.34.8"}, AllFeatures)
		checkHandshake(t, p, err, len(b))
		checkMemory(t, len(b), &before)
	})
}

func checkHandshake(t *testing.T, p Params, err error, received int) {
	t.Helper()
	var mismatch *MismatchError
	if errors.As(err, &mismatch) {
		return
	}
	if err != nil {
		checkError(t, err, received)
		return
	}
	if p.Version < MinVersion || p.Version > MaxVersion || p.Version < FeatureVersion && p.Features != 0 {
		t.Errorf("negotiated %s with features %s", p.Version, p.Features)
	}
}
