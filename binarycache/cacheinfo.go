package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"pix/storepath"
)

// cacheInfoFile is the file that describes a cache.
const cacheInfoFile = "nix-cache-info"

// maxCacheInfo is the largest size of that file, in bytes.
const maxCacheInfo = 64 << 10

// A CacheInfo is the description that a cache has of itself.
type CacheInfo struct {
	StoreDir      storepath.Dir // "" if it is missing
	WantMassQuery bool          // allows queries about many paths at once
	Priority      int           // among substituters; lower values are asked first
}

// defaultPriority is the priority of caches whose description has none.
const defaultPriority = 50

// A StoreDirError reports that a cache is for another store directory.
type StoreDirError struct {
	URI       string // of the cache
	Has, Want storepath.Dir
}

func (e *StoreDirError) Error() string {
	return fmt.Sprintf("binary cache '%s' is for Nix stores with prefix '%s', not '%s'", e.URI, e.Has, e.Want)
}

// Info returns the description of the cache that was read when it was opened.
func (s *Store) Info() CacheInfo { return s.info }

// readCacheInfo reads the description of the cache.
func (s *Store) readCacheInfo(ctx context.Context) error {
	s.info.Priority = defaultPriority
	var other *StoreDirError
	err := s.readParsed(ctx, cacheInfoFile, maxCacheInfo, func(text []byte, _ bool) (err error) {
		if s.info, err = ParseCacheInfo(string(text)); err != nil {
			return err
		}
		if has := s.info.StoreDir; has != "" && has != s.Dir() {
			other = &StoreDirError{s.uri, has, s.Dir()}
			return other
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist) && (s.local != nil || s.opts.Create):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("'%s' does not appear to be a binary cache: %w", s.uri, err)
	case errors.As(err, &other):
		return other
	}
	s.prepared = err == nil && s.local == nil
	return err
}

// ParseCacheInfo parses a nix-cache-info as Nix does: each line has a key, a colon and a value.
// Lines without a colon and unknown keys are ignored. The last value of a repeated key counts.
func ParseCacheInfo(text string) (CacheInfo, error) {
	info := CacheInfo{Priority: defaultPriority}
	for line := range strings.SplitSeq(text, "\n") {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.Trim(value, " \t\r\n")
		var err error
		switch key {
		case "StoreDir":
			info.StoreDir, err = storepath.ParseDir(value)
		case "WantMassQuery":
			info.WantMassQuery = value == "1"
		case "Priority":
			info.Priority, err = parseLeadingInt(value)
		}
		if err != nil {
			return info, fmt.Errorf("%s: %w", key, err)
		}
	}
	return info, nil
}

// parseLeadingInt parses a number and ignores everything after it, as Nix does.
func parseLeadingInt(s string) (int, error) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '-' && r != '+' })
	if end >= 0 {
		s = s[:end]
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, errors.New("not a number")
	}
	return int(n), nil
}
