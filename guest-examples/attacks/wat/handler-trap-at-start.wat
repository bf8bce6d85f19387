;; A handler of which no instance can be made.
(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $main
    (func $start unreachable)
    (start $start)
    (func (export "handle") (param i32 i32)))
  (core instance $i (instantiate $main))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out)) (canon lift (core func $i "handle")))
  (instance $exports (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $exports)))
