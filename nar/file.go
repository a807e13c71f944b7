package nar

import "io"

// WriteFile writes the archive of a regular file that is not executable. It reads contents to the end, which must
// come after size bytes; otherwise the error is an [*Error], and the output is incomplete.
func WriteFile(dst io.Writer, contents io.Reader, size uint64) error {
	w := NewWriter(dst)
	if err := w.WriteEntry(Entry{Kind: Regular, Size: size}); err != nil {
		return err
	}
	if _, err := io.Copy(w, contents); err != nil {
		return err
	}
	return w.Close()
}
