package builtins

import (
	"context"
	"fmt"
	"os"
	"strings"

	"pix/internal/unpack"
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

// unpackFile unpacks a tar or zip archive into root.
func unpackFile(ctx context.Context, root *os.Root, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("failed to open archive: Failed to open '%s'", name) // the text of libarchive
	}
	defer file.Close()
	if err := unpack.File(ctx, root, file, unpack.Limits{}); err != nil {
		return fmt.Errorf("cannot unpack '%s': %w", name, err)
	}
	return nil
}
