package cacheserver_test

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"net/http"
	"runtime"
	"testing"

	"pix/cacheserver"
	"pix/internal/compression"
	"pix/narinfo"
	"pix/nixhash"
)

// zstdStream returns a zstd stream of one frame that asks for a window of 2^log bytes. Its blocks are not compressed.
//
// Source: RFC 8878, section 3.1.1.
func zstdStream(contents []byte, log int) []byte {
	const maxBlock, lastBlock = 1 << 16, 1
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(log-10) << 3}
	for {
		block := contents[:min(len(contents), maxBlock)]
		contents = contents[len(block):]
		header := uint32(len(block)) << 3
		if len(contents) == 0 {
			header |= lastBlock
		}
		b = append(b, byte(header), byte(header>>8), byte(header>>16))
		b = append(b, block...)
		if len(contents) == 0 {
			return b
		}
	}
}

// zstdSegment returns a zstd stream of one frame whose window is its contents. Its header claims that the contents have size bytes.
func zstdSegment(contents []byte, size uint64) []byte {
	b := zstdStream(contents, 10)
	header := binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, size)
	return append(header, b[6:]...)
}

// xzStream returns a xz stream with a code for the size of its dictionary: 40 is 4 GiB, 30 is 128 MiB.
//
// Source: "The .xz File Format", sections 3.1 and 5.3.1.
func xzStream(t *testing.T, contents []byte, code byte) []byte {
	t.Helper()
	b := encode(t, "xz", contents)
	const headerAt, codeAt = 12, 4 // the size of the block header, flags, the identifier of the filter, the size of its properties
	header := b[headerAt : headerAt+(int(b[headerAt])+1)*4]
	if header[1] != 0 || header[2] != 0x21 || header[3] != 1 {
		t.Fatalf("the block header is % x", header)
	}
	header[codeAt] = code
	end := len(header) - crc32.Size
	binary.LittleEndian.PutUint32(header[end:], crc32.ChecksumIEEE(header[:end]))
	return b
}

// A windowBomb is a stream whose header asks for much memory. Its contents are right.
type windowBomb struct {
	name, method string
	stream       func(t *testing.T, contents []byte) []byte
	small, large int // statuses if the contents may be smaller and larger than the window
}

// windowBombs has streams that are accepted, too: a decoder needs no larger window than the contents may have.
var windowBombs = []windowBomb{
	{"window of 8 MiB", "zstd", func(_ *testing.T, b []byte) []byte { return zstdStream(b, 23) }, 201, 201},
	{"window of 128 MiB", "zstd", func(_ *testing.T, b []byte) []byte { return zstdStream(b, 27) }, 201, 201},
	{"window of 256 MiB", "zstd", func(_ *testing.T, b []byte) []byte { return zstdStream(b, 28) }, 201, 422},
	{"window of 2 GiB", "zstd", func(_ *testing.T, b []byte) []byte { return zstdStream(b, 31) }, 201, 422},
	{"window of 2 TiB", "zstd", func(_ *testing.T, b []byte) []byte { return zstdStream(b, 41) }, 201, 422},
	{"window of the second frame", "zstd", func(_ *testing.T, b []byte) []byte { return append(zstdStream(b[:8], 20), zstdStream(b[8:], 31)...) }, 201, 422},
	{"segment", "zstd", func(_ *testing.T, b []byte) []byte { return zstdSegment(b, uint64(len(b))) }, 201, 201},
	{"segment of 1 GiB", "zstd", func(_ *testing.T, b []byte) []byte { return zstdSegment(b, 1<<30) }, 422, 422},
	{"segment of all bytes", "zstd", func(_ *testing.T, b []byte) []byte { return zstdSegment(b, math.MaxUint64) }, 422, 422},
	{"dictionary of 128 MiB", "xz", func(t *testing.T, b []byte) []byte { return xzStream(t, b, 30) }, 201, 201},
	{"dictionary of 192 MiB", "xz", func(t *testing.T, b []byte) []byte { return xzStream(t, b, 31) }, 201, 422},
	{"dictionary of 4 GiB", "xz", func(t *testing.T, b []byte) []byte { return xzStream(t, b, 40) }, 201, 422},
	{"large window", "br", func(t *testing.T, b []byte) []byte { return append([]byte{0x11, 30}, encode(t, "br", b)...) }, 422, 422},
}

// allocated returns the number of bytes that a call allocates.
func allocated(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// moreMemory is the number of bytes that an upload may allocate beside the window of a decoder.
const moreMemory = 32 << 20

// An uploaded archive whose decoder would need a larger window than allowed is refused, and takes no memory for it.
func TestWindowsOfArchives(t *testing.T) {
	archive := fileArchive("contents")
	for _, large := range []bool{false, true} {
		w := newPushWorld(t, func(o *cacheserver.UploadOptions) {
			if large {
				o.MaxRatio = 32 << 20 // an archive of 100 bytes may have more than 3 GB
			}
		})
		for _, bomb := range windowBombs {
			want := bomb.small
			if large {
				want = bomb.large
			}
			file := bomb.stream(t, archive)
			target := "/" + narinfo.ArchiveURL(nixhash.Sum(nixhash.SHA256, file), bomb.method)
			var status int
			var text string
			n := allocated(func() { status, text = put(w.h, testToken, target, file) })
			if status != want {
				t.Errorf("%s, %s, large is %t: got %d, want %d: %s", bomb.method, bomb.name, large, status, want, text)
			}
			if most := uint64(compression.MaxWindow + moreMemory); n > most {
				t.Errorf("%s, %s, large is %t: %d bytes were allocated, want at most %d", bomb.method, bomb.name, large, n, most)
			}
			head := ask(w.h, http.MethodHead, target, "Authorization", "Bearer "+testToken)
			if kept := head.Code == http.StatusOK; kept != (want == http.StatusCreated) {
				t.Errorf("%s, %s, large is %t: the archive is kept: %t", bomb.method, bomb.name, large, kept)
			}
		}
	}
}

// A text with a Content-Encoding takes no more memory than its contents may have, whatever window its header asks for.
func TestWindowsOfTexts(t *testing.T) {
	for _, bomb := range windowBombs {
		w := newPushWorld(t, nil)
		o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
		o.putArchive(t, w.h, testToken)
		text, err := o.n.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		body := bomb.stream(t, text)
		var status int
		var reason string
		n := allocated(func() {
			status, reason = put(w.h, testToken, "/"+narinfo.FileName(o.n.Path), body, "Content-Encoding", bomb.method)
		})
		if status != bomb.small || w.has(t, o.n.Path) != (status == http.StatusCreated) {
			t.Errorf("%s, %s: got %d, want %d: %s", bomb.method, bomb.name, status, bomb.small, reason)
		}
		if n > moreMemory {
			t.Errorf("%s, %s: %d bytes were allocated, want at most %d", bomb.method, bomb.name, n, moreMemory)
		}
	}
}
