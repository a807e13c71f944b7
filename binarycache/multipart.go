package binarycache

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pix/internal/parallel"
	"pix/internal/spool"
)

// S3Options say how files are sent to a server of S3, whose protocol is HTTP with additional headers. Package
// [pix/binarycache/s3] sets them.
type S3Options struct {
	// Name is the URI of the cache in messages, such as "s3://bucket".
	Name string

	// StorageClass is the class of new objects; "" is the default of the bucket.
	StorageClass string

	// Multipart sends files that are larger than Threshold in parts of PartSize bytes. Other files have at most
	// 5 GiB. Parts have 5 MiB to 5 GiB; they are larger than PartSize if there would be more than 10,000.
	Multipart           bool
	PartSize, Threshold int64
}

// The limits of S3.
const (
	maxPart  = 5 << 30 // also of a file that is sent in one request
	maxParts = 10_000
)

// partsAtOnce is the number of parts of one file that are sent at the same time.
const partsAtOnce = 4

// putS3 sends a file to a server of S3.
func (r *remote) putS3(ctx context.Context, name string, file *spool.File, header http.Header) error {
	o := r.opts.S3
	if o.StorageClass != "" {
		header.Set("X-Amz-Storage-Class", o.StorageClass)
	}
	if o.Multipart && file.Size() > o.Threshold {
		return r.putParts(ctx, name, file, header)
	}
	if file.Size() > maxPart {
		return fmt.Errorf("file '%s' has %d bytes, but S3 accepts at most 5 GiB without the parameter multipart-upload", name, file.Size())
	}
	return r.putWithMD5(ctx, r.fileURL(name), header, file, file.Size(), new(answer))
}

// putWithMD5 sends a body with its MD5 digest, which the server verifies, and stores the answer.
func (r *remote) putWithMD5(ctx context.Context, u *url.URL, header http.Header, body io.ReaderAt, size int64, got *answer) error {
	digest := md5.New()
	if _, err := io.Copy(digest, io.NewSectionReader(body, 0, size)); err != nil {
		return err
	}
	header.Set("Content-MD5", base64.StdEncoding.EncodeToString(digest.Sum(nil)))
	a, err := r.exchange(ctx, &request{method: http.MethodPut, url: u, header: header, body: body, size: size})
	if err == nil {
		*got = *a
	}
	return err
}

// A partsUpload sends a file in parts. The server shows the file when the last request has succeeded.
type partsUpload struct {
	remote   *remote
	name     string
	file     *spool.File
	partSize int64
	id       string   // from the server
	tags     []string // of the parts, from the server
}

func (r *remote) putParts(ctx context.Context, name string, file *spool.File, header http.Header) error {
	u := &partsUpload{remote: r, name: name, file: file, partSize: max(r.opts.S3.PartSize, (file.Size()+maxParts-1)/maxParts)}
	if u.partSize > maxPart {
		return fmt.Errorf("file '%s' has %d bytes, but S3 accepts at most %d parts of 5 GiB", name, file.Size(), maxParts)
	}
	if err := u.begin(ctx, header); err != nil {
		return err
	}
	err := u.sendParts(ctx)
	if err == nil {
		err = u.complete(ctx)
	}
	if err != nil {
		u.abort(ctx)
	}
	return err
}

// url returns the URL of the file with parameters.
func (u *partsUpload) url(params url.Values) *url.URL {
	to := *u.remote.fileURL(u.name)
	to.RawQuery = params.Encode()
	return &to
}

// begin makes the server start an upload.
func (u *partsUpload) begin(ctx context.Context, header http.Header) error {
	header.Del("Expect")
	req := &request{method: http.MethodPost, url: u.url(url.Values{"uploads": {""}}), header: header, body: bytes.NewReader(nil)}
	req.check = func(a *answer) error {
		var result struct{ UploadId string }
		if err := xml.Unmarshal(a.body, &result); err != nil || result.UploadId == "" {
			return errors.New("the answer has no UploadId")
		}
		u.id = result.UploadId
		return nil
	}
	_, err := u.remote.exchange(ctx, req)
	return err
}

// sendParts sends all parts, several at once.
func (u *partsUpload) sendParts(ctx context.Context) error {
	size := u.file.Size()
	u.tags = make([]string, (size+u.partSize-1)/u.partSize)
	group, ctx := parallel.WithContext(ctx, partsAtOnce)
	for i := range u.tags {
		offset := int64(i) * u.partSize
		group.Go(func() error {
			part := io.NewSectionReader(u.file, offset, min(u.partSize, size-offset))
			to := u.url(url.Values{"partNumber": {strconv.Itoa(i + 1)}, "uploadId": {u.id}})
			header := http.Header{"Content-Type": {"application/octet-stream"}, "Accept-Encoding": {acceptArchive}, "Expect": {"100-continue"}}
			var got answer
			if err := u.remote.putWithMD5(ctx, to, header, part, part.Size(), &got); err != nil {
				return err
			}
			if u.tags[i] = got.header.Get("ETag"); u.tags[i] == "" {
				return fmt.Errorf("the server has sent no ETag for part %d of '%s'", i+1, u.name)
			}
			return nil
		})
	}
	return group.Wait()
}

// complete makes the server put the parts together.
func (u *partsUpload) complete(ctx context.Context) error {
	text := bytes.NewBufferString("<CompleteMultipartUpload>")
	for i, tag := range u.tags {
		fmt.Fprintf(text, "<Part><PartNumber>%d</PartNumber><ETag>", i+1)
		if err := xml.EscapeText(text, []byte(tag)); err != nil {
			return err
		}
		text.WriteString("</ETag></Part>")
	}
	text.WriteString("</CompleteMultipartUpload>")
	req := &request{
		method: http.MethodPost, url: u.url(url.Values{"uploadId": {u.id}}),
		header: http.Header{"Content-Type": {"text/xml"}, "Accept-Encoding": {acceptArchive}},
		body:   bytes.NewReader(text.Bytes()), size: int64(text.Len()),
	}
	_, err := u.remote.exchange(ctx, req)
	if failed, ok := errors.AsType[*RequestError](err); ok && failed.Status == http.StatusNotFound && failed.Tries > 1 {
		// An earlier attempt may have succeeded, after which its answer was lost. At the first attempt the upload has
		// been aborted, and a file with this name is an older one.
		if has, again := u.remote.hasFile(ctx, u.name, u.file.Size()); has && again == nil {
			return nil
		}
	}
	return err
}

// abortLimit bounds the request that makes the server delete the parts.
const abortLimit = 30 * time.Second

// abort makes the server delete the parts, also if the context has ended. The caller reports the error of the upload; the
// bucket's own rules delete what remains.
func (u *partsUpload) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortLimit)
	defer cancel()
	header := http.Header{"Accept-Encoding": {acceptArchive}}
	u.remote.exchange(ctx, &request{method: http.MethodDelete, url: u.url(url.Values{"uploadId": {u.id}}), header: header})
}

// s3Message returns the code and the text of an error of S3, in XML.
func s3Message(text []byte) (message string, ok bool) {
	var e struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if xml.Unmarshal(text, &e) != nil || e.Code == "" {
		return "", false
	}
	if e.Message != "" {
		e.Code += ": " + e.Message
	}
	return oneLine([]byte(e.Code)), true
}
