package builtins

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"strings"

	"pix/internal/compression"
	"pix/internal/contextio"
)

// unpackChannel unpacks the archive of a channel, which has one directory, and gives that the name of the channel.
//
// Source: src/libstore/builtins/unpack-channel.cc in Nix.
func unpackChannel(ctx context.Context, in *Input, _ *logger) error {
	out, err := in.output("unpack-channel")
	if err != nil {
		return err
	}
	name, err := in.attribute("channelName")
	if err != nil {
		return err
	}
	src, err := in.attribute("src")
	if err != nil {
		return err
	}
	if strings.Contains(name, "/") {
		return fmt.Errorf("channelName is not allowed to contain filesystem separators, got %s", name)
	}
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("channelName is not a name, got '%s'", name)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := unpackFile(ctx, root, src); err != nil {
		return err
	}
	entries, err := os.ReadDir(out)
	switch {
	case err != nil:
		return err
	case len(entries) == 0:
		return fmt.Errorf("channel tarball '%s' is empty", src)
	case len(entries) > 1:
		return fmt.Errorf("channel tarball '%s' contains more than one file", src)
	}
	if entries[0].Name() == name { // os.Root does not rename a directory to its own name
		return nil
	}
	if err := root.Rename(entries[0].Name(), name); err != nil {
		return fmt.Errorf("failed to rename \"%s/%s\" to \"%s/%s\": %w", out, entries[0].Name(), out, name, err)
	}
	return nil
}

// unpackFile unpacks a tar archive, compressed or not, into root.
func unpackFile(ctx context.Context, root *os.Root, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("failed to open archive: Failed to open '%s'", name) // the text of libarchive
	}
	defer file.Close()
	src, err := decompress(contextio.NewReader(ctx, file))
	if err == nil {
		err = unpack(root, src)
	}
	if err != nil {
		return fmt.Errorf("cannot unpack '%s': %w", name, err)
	}
	return nil
}

// decompress returns the tar archive in src. It detects the compression from the first bytes.
func decompress(src io.Reader) (io.Reader, error) {
	const block, magicAt = 512, 257
	buffered := bufio.NewReaderSize(src, 64<<10)
	head, err := buffered.Peek(block)
	if err != nil && err != io.EOF {
		return nil, err
	}
	isEmpty := len(bytes.Trim(head, "\x00")) == 0
	if isEmpty || len(head) == block && string(head[magicAt:magicAt+5]) == "ustar" {
		return buffered, nil
	}
	// Decode detects the format from the contents, so gzip is only the default.
	return compression.Decode("gzip", buffered, math.MaxUint64)
}

// unpack makes the files of a tar archive. The archive is not trusted: no name may lead out of root, or through a
// symlink of the archive.
func unpack(root *os.Root, src io.Reader) error {
	archive := tar.NewReader(src)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := memberName(root, header.Name)
		if err == nil && name != "" {
			err = unpackMember(root, name, header, archive)
		}
		if err != nil {
			return fmt.Errorf("member '%s': %w", header.Name, err)
		}
	}
}

var (
	errDotDot  = errors.New("the name contains '..'")
	errThrough = errors.New("the name leads through a symlink")
)

// memberName returns the name of a member in root, or "" for root itself. An absolute name is taken relative to root.
// The directories above it must not be symlinks.
func memberName(root *os.Root, name string) (string, error) {
	parts := strings.Split(name, "/")
	for _, part := range parts {
		if part == ".." {
			return "", errDotDot
		}
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		info, err := root.Lstat(dir)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", errThrough
		}
	}
	return clean, nil
}

// unpackMember makes one file, directory or link. It replaces an earlier member with the same name, unless both are
// directories.
func unpackMember(root *os.Root, name string, header *tar.Header, contents io.Reader) error {
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("the type %q is not supported", header.Typeflag)
	}
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if info, err := root.Lstat(name); err == nil {
		if header.Typeflag == tar.TypeDir && info.IsDir() {
			return nil
		}
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return root.Mkdir(name, 0o755)
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeLink:
		target, err := memberName(root, header.Linkname)
		if err != nil {
			return err
		}
		return root.Link(target, name)
	}
	return writeMember(root, name, header, contents)
}

func writeMember(root *os.Root, name string, header *tar.Header, contents io.Reader) error {
	mode := fs.FileMode(0o644)
	if header.Mode&0o100 != 0 {
		mode = 0o755
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, contents)
	return errors.Join(err, f.Close())
}
