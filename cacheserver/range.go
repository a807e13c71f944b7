package cacheserver

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// A byteRange is a part of a file.
type byteRange struct{ offset, length int64 }

// contentRange returns the header Content-Range of a part of a file with this size.
func (b byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", b.offset, b.offset+b.length-1, size)
}

// errRange is the error of a range that is not in the file.
var errRange = errors.New("the range is not in the file")

// requestedRange returns the part of a file that a request asks for. partial is false if it is the whole file: without
// the header Range, if the file is not the one in If-Range, and for headers that a server may ignore, such as several
// ranges. The error is errRange.
//
// Source: RFC 9110, section 14.
func requestedRange(r *http.Request, etag string, size int64) (part byteRange, partial bool, err error) {
	whole := byteRange{0, size}
	header := r.Header.Values("Range")
	if r.Method != http.MethodGet || len(header) != 1 {
		return whole, false, nil
	}
	if condition := r.Header.Get("If-Range"); condition != "" && (etag == "" || condition != etag) {
		return whole, false, nil
	}
	unit, spec, ok := strings.Cut(header[0], "=")
	if !ok || !strings.EqualFold(strings.Trim(unit, " \t"), "bytes") {
		return whole, false, nil
	}
	part, err = parseRange(strings.Trim(spec, " \t"), size)
	switch {
	case errors.Is(err, errRange):
		return byteRange{}, false, err
	case err != nil:
		return whole, false, nil
	}
	return part, true, nil
}

// parseRange parses one range in a file: "first-last", "first-" or "-length". The error is errRange if the file has no byte
// of it.
func parseRange(spec string, size int64) (byteRange, error) {
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return byteRange{}, errors.New("there is no dash")
	}
	if first == "" {
		length, err := parseOffset(last)
		if err != nil {
			return byteRange{}, err
		}
		if length = min(length, size); length == 0 {
			return byteRange{}, errRange
		}
		return byteRange{size - length, length}, nil
	}
	begin, err := parseOffset(first)
	if err != nil {
		return byteRange{}, err
	}
	end := size - 1
	if last != "" {
		if end, err = parseOffset(last); err != nil {
			return byteRange{}, err
		}
		if end < begin {
			return byteRange{}, errors.New("the last byte comes before the first")
		}
	}
	if begin >= size {
		return byteRange{}, errRange
	}
	return byteRange{begin, min(end, size-1) - begin + 1}, nil
}

// parseOffset parses a decimal number without a sign. Numbers that are too large for an int64 are the largest one.
func parseOffset(s string) (int64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, errors.New("not a number")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, err
	}
	return n, nil
}
