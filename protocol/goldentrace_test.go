package protocol

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden traces")

// goldenTraces has values of all requests, replies and messages. A line consists of a version,
// its features, the direction (→ request, ← reply, · message), the first bytes of the SHA-256
// of the value on the wire, and the trace of the value.
const goldenTraces = "testdata/golden.trace"

// A recorded trace must remain readable, and the wire format never changes. So each line must
// be read, shown and encoded as it was when the file was written.
func TestGoldenTraces(t *testing.T) {
	if *updateGolden {
		writeGoldenTraces(t)
	}
	text, err := os.ReadFile(goldenTraces)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(text)) {
		words := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 5)
		if len(words) != 5 {
			t.Fatalf("%q", line)
		}
		p := Params{Features: featuresOf(strings.Split(words[1], ",")), Dir: testDir}
		if p.Version, err = parseNegotiated(words[0]); err != nil {
			t.Fatal(err)
		}
		again, wire, err := p.readGolden(words[2], words[4])
		if err != nil || again != words[4] || words[3] != shortHash(wire) {
			t.Errorf("%s is now shown as %s, with the hash %s, %v", line, again, shortHash(wire), err)
		}
		name, _, _ := strings.Cut(words[4], " ")
		seen[words[2]+name]++
	}
	for _, row := range table {
		if seen["→"+row.Name] == 0 || seen["←"+row.Name] == 0 {
			t.Errorf("no request or no reply of %s", row.Name)
		}
	}
	for _, name := range messageNames {
		if seen["·"+name] == 0 {
			t.Errorf("no message %s", name)
		}
	}
}

// readGolden reads a line. It returns the line that is shown for its value now, and the bytes
// of the value on the wire.
func (p Params) readGolden(direction, line string) (again string, wire []byte, err error) {
	switch direction {
	case "→":
		r, err := p.ParseTraceRequest(line)
		if err != nil {
			return "", nil, err
		}
		wire, err = p.AppendRequest(nil, r)
		return p.TraceRequest(r, -1), wire, err
	case "←":
		op, r, err := p.ParseTraceReply(line)
		if err != nil {
			return "", nil, err
		}
		wire, err = p.AppendReply(nil, op, r)
		return p.TraceReply(op, r, -1), wire, err
	}
	m, err := p.ParseTraceMessage(line)
	if err != nil {
		return "", nil, err
	}
	wire, err = p.AppendMessage(nil, m)
	return p.TraceMessage(m, -1), wire, err
}

func shortHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// writeGoldenTraces writes a value of each kind for each version that changes its form.
func writeGoldenTraces(t *testing.T) {
	var file bytes.Buffer
	last := map[string]string{}
	write := func(p Params, direction, name, line string, wire []byte, err error) {
		if errors.Is(err, errors.ErrUnsupported) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry := fmt.Sprintf("%s %s %s", direction, shortHash(wire), line); last[name] != entry {
			last[name] = entry
			fmt.Fprintf(&file, "%s %s %s\n", p.Version, cmp.Or(strings.Join(p.Features.Names(), ","), "-"), entry)
		}
	}
	for _, p := range allParams() {
		if p.Features != 0 && p.Features != AllFeatures && p.Features != BuildFeatures {
			continue
		}
		for _, row := range Operations() {
			req, reply := row.request(), row.reply()
			newFiller(5).fill(req)
			newFiller(5).fill(reply)
			wire, err := p.AppendRequest(nil, req)
			write(p, "→", "→"+row.Name, p.TraceRequest(req, -1), wire, err)
			wire, err = p.AppendReply(nil, row.Op, reply)
			write(p, "←", "←"+row.Name, p.TraceReply(row.Op, reply, -1), wire, errors.Join(p.Check(row.Op), err))
		}
		for _, kind := range messageKinds {
			var m Message
			for seed := uint64(0); m.Kind != kind; seed++ {
				m = Message{}
				newFiller(seed).fill(&m)
			}
			wire, err := p.AppendMessage(nil, m)
			write(p, "·", kind.String(), p.TraceMessage(m, -1), wire, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(goldenTraces), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldenTraces, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
