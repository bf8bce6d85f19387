;; A list without end on the collected heap, which is none of its linear memories.
(module
  (type $bytes (array (mut i8)))
  (type $node (struct (field (ref null $node)) (field (ref $bytes))))
  (memory (export "memory") 1)
  (global $list (mut (ref null $node)) (ref.null $node))
  (func (export "_start")
    (loop $again
      (global.set $list (struct.new $node (global.get $list) (array.new_default $bytes (i32.const 65536))))
      (br $again))))
