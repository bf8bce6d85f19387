;; A memory of 64-bit addresses that would be all of the machine's.
(module
  (memory (export "memory") i64 1 0x1000000000000)
  (func (export "_start")
    (drop (memory.grow (i64.const 0x100000000)))
    (loop $again
      (if (i64.eq (memory.grow (i64.const 1024)) (i64.const -1)) (then unreachable))
      (br $again))))
