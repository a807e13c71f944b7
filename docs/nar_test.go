package docs_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/nar"
	"pix/nixhash"
)

// annotate prints each word of an archive with its offset, its length, its bytes, the padding, and its
// meaning.
func annotate(t *testing.T, archive []byte) string {
	t.Helper()
	var lines []string
	depth, previous := 0, ""
	for at := 0; at < len(archive); {
		n := int(binary.LittleEndian.Uint64(archive[at:]))
		word := archive[at+8 : at+8+n]
		filled := (n + 7) / 8 * 8
		for _, b := range archive[at+8+n : at+8+filled] {
			if b != 0 {
				t.Fatalf("byte %#x of the archive should be zero", b)
			}
		}
		text := string(word)
		if text == ")" {
			depth--
		}
		lines = append(lines, fmt.Sprintf("%04x\t%s\t%s%s", at, hexBytes(archive[at:at+8]), strings.Repeat("  ", depth), formatWord(text, previous, filled-n)))
		if text == "(" {
			depth++
		}
		previous, at = text, at+8+filled
	}
	return table(lines...)
}

// formatWord formats a word of an archive and the number of zero bytes after it.
func formatWord(word, previous string, zeros int) string {
	s := fmt.Sprintf("%q", word)
	if zeros > 0 {
		s += fmt.Sprintf(" and %d zero bytes", zeros)
	}
	switch previous {
	case "contents":
		s += ": the contents"
	case "name":
		s += ": the name of the entry"
	case "target":
		s += ": the target"
	}
	return s
}

func TestNARPage(t *testing.T) {
	dir := exampleTree(t)
	tree := archive(t, dir)
	file := filepath.Join(t.TempDir(), "file")
	checkErr(t, os.WriteFile(file, []byte("hello world"), 0o666))
	text := archive(t, file)
	if _, err := nar.ReadListing(strings.NewReader(string(tree))); err != nil {
		t.Fatal(err)
	}
	check(t, "nar.md", map[string]string{
		"grammar": grammar,
		"file":    annotate(t, text),
		"bytes":   dump(text),
		"tree":    annotate(t, tree),
		"hashes": table(
			fmt.Sprintf("the file\t%d bytes\t%s", len(text), nixhash.Sum(nixhash.SHA256, text).WithNix32()),
			fmt.Sprintf("the directory\t%d bytes\t%s", len(tree), nixhash.Sum(nixhash.SHA256, tree).WithNix32()),
		),
	})
}

// dump formats bytes as hexdump -C does.
func dump(b []byte) string {
	var out strings.Builder
	for at := 0; at < len(b); at += 16 {
		line := b[at:min(at+16, len(b))]
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, string(line))
		fmt.Fprintf(&out, "%04x  %-47s  %s\n", at, hexBytes(line), text)
	}
	return out.String()
}

const grammar = `archive   = "nix-archive-1" node
node      = "(" "type" ( file | directory | symlink ) ")"
file      = "regular" [ "executable" "" ] "contents" contents
directory = "directory" { "entry" "(" "name" name "node" node ")" }
symlink   = "symlink" "target" target`
