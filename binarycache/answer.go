package binarycache

import (
	"bytes"
	"html"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pix/internal/compression"
)

// answerTime is the time in which a server must send the text of an error. The text is not worth a longer wait.
const answerTime = 5 * time.Second

// answer returns the message that a server has sent with a status other than success. It reads a small body to its end,
// so that the connection can be reused. It is "" for a file that does not exist.
func (d *download) answer() string {
	body := d.response.body
	defer time.AfterFunc(answerTime, func() { body.cancel(errStalled) }).Stop()
	status := d.response.StatusCode
	if status == http.StatusNotFound || status == http.StatusGone { // the text says nothing more than the status
		body.drain()
		return ""
	}
	const most = 16 << 10
	text, _ := io.ReadAll(io.LimitReader(body, most)) // an incomplete text is better than none
	if method := contentEncoding(d.response.Header); method != "" {
		decoded, err := compression.Decode(method, bytes.NewReader(text), most)
		if err != nil {
			return ""
		}
		text, _ = io.ReadAll(io.LimitReader(decoded, most))
	}
	return messageOf(status, text)
}

var (
	htmlTitle = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	htmlTag   = regexp.MustCompile(`(?s)<[^>]*>`)
)

// messageOf returns the message in the body of an error: the message in the XML of S3, the title of an HTML page, or
// the text. It is "" if it only repeats the status.
func messageOf(status int, text []byte) string {
	if message, ok := s3Message(text); ok {
		return message
	}
	if text = bytes.TrimSpace(text); bytes.HasPrefix(text, []byte("<")) {
		if title := htmlTitle.FindSubmatch(text); title != nil {
			text = title[1]
		}
		text = []byte(html.UnescapeString(string(htmlTag.ReplaceAll(text, []byte(" ")))))
	}
	message := oneLine(text)
	if strings.EqualFold(strings.TrimPrefix(message, strconv.Itoa(status)+" "), http.StatusText(status)) {
		return ""
	}
	return message
}
