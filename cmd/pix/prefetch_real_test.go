package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/compression"
	"pix/internal/realnix"
	"pix/nixhash"
)

// An archived is a member of an archive that a test writes.
type archived struct {
	name string
	mode fs.FileMode // with the type
	text string      // the contents, or the target of a link
	hard bool
}

const (
	archivedDir  = fs.ModeDir
	archivedLink = fs.ModeSymlink | 0o777
)

// prefetchedArchives are archives whose hashes pix must compute as Nix does. Where Nix fails, pix must fail.
var prefetchedArchives = map[string][]archived{
	"plain":      {{"top", archivedDir | 0o755, "", false}, {"top/file", 0o644, "text", false}, {"top/run", 0o755, "run", false}},
	"modes":      {{"top/", archivedDir | 0o500, "", false}, {"top/a", 0o400, "a", false}, {"top/b", 0o100, "b", false}, {"top/c", 0o611, "c", false}, {"top/d", 0o6755, "d", false}},
	"closed":     {{"top", archivedDir, "", false}, {"top/sub", archivedDir | 0o200, "", false}, {"top/sub/file", 0o644, "x", false}},
	"links":      {{"top/file", 0o644, "text", false}, {"top/link", archivedLink, "file", false}, {"top/out", archivedLink, "/etc/passwd", false}, {"top/dangling", archivedLink, "../..", false}},
	"hard":       {{"top/file", 0o755, "text", false}, {"top/hard", 0, "top/file", true}},
	"dotted":     {{"./", archivedDir | 0o755, "", false}, {"./top/./file", 0o644, "text", false}},
	"absolute":   {{"/top/file", 0o644, "text", false}},
	"two":        {{"a", 0o644, "a", false}, {"b/c", 0o644, "c", false}},
	"one file":   {{"file", 0o755, "text", false}},
	"no top":     {{"top/sub/file", 0o644, "text", false}},
	"long":       {{"top/" + strings.Repeat("long/", 40) + strings.Repeat("n", 200), 0o644, "text", false}},
	"unicode":    {{"top/naïve café", 0o644, "text", false}, {"top/日本", 0o644, "text", false}},
	"twice":      {{"top/file", 0o644, "first", false}, {"top/file", 0o755, "second", false}},
	"case":       {{"top/file", 0o644, "lower", false}, {"top/FILE", 0o644, "upper", false}},
	"empty dir":  {{"top/empty/", archivedDir | 0o755, "", false}, {"top/file", 0o644, "", false}},
	"dots":       {{"top/../../file", 0o644, "evil", false}},
	"through":    {{"top/link", archivedLink, "..", false}, {"top/link/file", 0o644, "evil", false}},
	"pipe":       {{"top/pipe", fs.ModeNamedPipe | 0o644, "", false}},
	"not a file": nil,
}

func archivedTar(t *testing.T, members []archived) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: int64(m.mode.Perm()), Typeflag: tar.TypeReg, Size: int64(len(m.text))}
		switch {
		case m.hard:
			h.Typeflag = tar.TypeLink
		case m.mode.IsDir():
			h.Typeflag = tar.TypeDir
		case m.mode&fs.ModeSymlink != 0:
			h.Typeflag = tar.TypeSymlink
		case m.mode&fs.ModeNamedPipe != 0:
			h.Typeflag = tar.TypeFifo
		}
		if h.Typeflag != tar.TypeReg {
			h.Linkname, h.Size = m.text, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, m.text)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func archivedZip(t *testing.T, members []archived) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(m.mode)
		if m.mode.IsDir() && !strings.HasSuffix(h.Name, "/") {
			h.Name += "/"
		}
		member, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if !m.mode.IsDir() {
			io.WriteString(member, m.text)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compressedArchives returns an archive in several formats, by the ends of their names.
func compressedArchives(t *testing.T, name string, members []archived) map[string][]byte {
	t.Helper()
	plain := archivedTar(t, members)
	all := map[string][]byte{".tar": plain}
	hasHardLink := len(members) > 1 && members[1].hard
	if !hasHardLink {
		all[".zip"] = archivedZip(t, members)
	}
	if name != "plain" {
		return all
	}
	for method, end := range map[string]string{"gzip": ".tar.gz", "xz": ".tar.xz", "zstd": ".tar.zst"} {
		var b bytes.Buffer
		w, err := compression.Encode(method, &b, 0, 0)
		if err == nil {
			_, err = w.Write(plain)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		all[end] = b.Bytes()
	}
	if _, err := exec.LookPath("bzip2"); err == nil {
		cmd := exec.Command("bzip2", "-c")
		cmd.Stdin = bytes.NewReader(plain)
		if all[".tar.bz2"], err = cmd.Output(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// differs reports whether a version of Nix fails for an archive for a reason of its own: Nix 2.3 runs programs that are not
// installed, 2.26 does not accept absolute names, and libarchive converts names in zip archives to the locale.
func differs(s realnix.Suite, name, end string) bool {
	switch {
	case s.Name == "bullseye":
		return end == ".zip" || end == ".tar.zst" || name == "pipe"
	case s.Name == "trixie" && name == "absolute":
		return true
	}
	return name == "unicode" && end == ".zip"
}

// The hashes of archives are the ones of nix-prefetch-url --unpack, and pix fails where Nix fails.
func TestRealPrefetch(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		for name, members := range prefetchedArchives {
			archives := compressedArchives(t, name, members)
			if members == nil {
				archives = map[string][]byte{".html": []byte("<html>not found</html>")}
			}
			for end, archive := range archives {
				if differs(s, name, end) {
					continue
				}
				file := strings.ReplaceAll(name, " ", "-") + end
				if err := os.WriteFile(filepath.Join(d.HostPath("/tmp"), file), archive, 0o644); err != nil {
					t.Fatal(err)
				}
				want, nixErr, err := d.Run("nix-prefetch-url", "--unpack", "--name", "source", "file:///tmp/"+file)
				out, pixErr := exec.Command("pix", "--store", "unix://"+d.Socket, "prefetch", "--unpack", "--name", "source", "file://"+d.HostPath("/tmp/"+file)).Output()
				if (err == nil) != (pixErr == nil) {
					t.Errorf("%s: pix: %v, Nix: %v\n%s", file, pixErr, err, nixErr)
					continue
				}
				if err != nil {
					continue
				}
				sri, _, _ := strings.Cut(string(out), "\n")
				h, err := nixhash.ParseSRI(sri)
				if err != nil || h.Nix32() != strings.TrimSpace(want) {
					t.Errorf("%s: pix has %s (%v), Nix %s", file, sri, err, want)
				}
			}
		}
	})
}
