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

// cacheInfoFile is the file that says what a cache is.
const cacheInfoFile = "nix-cache-info"

// maxCacheInfo is how long it may be, in bytes.
const maxCacheInfo = 64 << 10

// A CacheInfo is what a cache says of itself.
type CacheInfo struct {
	StoreDir      storepath.Dir // "" if it does not say
	WantMassQuery bool          // it may be asked for many paths at once
	Priority      int           // among substituters: the lowest is asked first
}

// defaultPriority is that of caches that do not say.
const defaultPriority = 50

// A StoreDirError says that a cache is for another store directory.
type StoreDirError struct {
	URI       string // of the cache
	Has, Want storepath.Dir
}

func (e *StoreDirError) Error() string {
	return fmt.Sprintf("binary cache '%s' is for Nix stores with prefix '%s', not '%s'", e.URI, e.Has, e.Want)
}

// Info returns what the cache said of itself when it was opened.
func (s *Store) Info() CacheInfo { return s.info }

// readCacheInfo reads what the cache says of itself.
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
	case errors.Is(err, fs.ErrNotExist) && s.local != nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("'%s' does not appear to be a binary cache: %w", s.uri, err)
	case errors.As(err, &other):
		return other
	}
	return err
}

// ParseCacheInfo reads a nix-cache-info as Nix does: lines of a key, a colon and a value.
// Lines without a colon and keys that are not known are passed over, and of a key that comes
// several times the last counts.
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

// parseLeadingInt reads a number, and passes over what follows it, as Nix does.
func parseLeadingInt(s string) (int, error) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '-' && r != '+' })
	if end >= 0 {
		s = s[:end]
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, errors.New("it is no number")
	}
	return int(n), nil
}
